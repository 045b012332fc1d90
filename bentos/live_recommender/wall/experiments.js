// Releases that are served side by side, where the service offers `GET /experiments`. Without it nothing is shown.

import { arrange, byId, copyOf, put } from "./page.js";
import { ask } from "./service.js";
import { count, percent } from "./words.js";

const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

let offered = null; // whether the service's document names the path

export async function showExperiments() {
  try {
    if (offered === null) offered = "/experiments" in ((await ask("docs.json")).paths || {});
    show(offered ? rowsOf(await ask("experiments")) : []);
  } catch {
    byId("experiments").hidden = true; // the status says if the service is away
  }
}

// The arms of the experiment, and behind them the releases in the shadow; of a plain list its members. Where the champion has
// no arm, because its challengers are in the shadow or are being loaded, it stands there with its lists.
function rowsOf(answer) {
  const challengers = answer?.challengers || [];
  let arms = Array.isArray(answer) ? answer : answer?.arms || [];
  if (!arms.length && challengers.length) {
    const champion = (answer.alone || []).find((one) => one?.release_id === answer.champion);
    arms = [{ ...champion, release_id: answer.champion, share: null }, ...challengers.filter((one) => !one?.shadow)];
  }
  const shadows = challengers.filter((one) => one?.shadow);
  const compared = shadows.map((one) => ({ ...one, share: null, lists: one.compared?.lists, overlap: one.compared?.overlap }));
  return [...arms, ...compared].map(row).filter((one) => one.release);
}

function row(one) {
  const ctr = one?.metrics?.ctr;
  return {
    release: typeof (one?.release ?? one?.release_id) === "string" ? one.release ?? one.release_id : "",
    share: number(one?.share),
    shadow: Boolean(one?.shadow),
    lists: number(one?.lists ?? one?.counts?.lists),
    overlap: number(one?.overlap),
    rate: number(one?.ctr ?? ctr?.value),
    low: number(one?.ctr_low ?? ctr?.low),
    high: number(one?.ctr_high ?? ctr?.high),
  };
}

function show(rows) {
  byId("experiments").hidden = rows.length < 2;
  const top = Math.max(1e-9, ...rows.map((one) => one.high ?? one.rate ?? 0));
  arrange(byId("experiment-rows"), rows.map((one) => {
    const node = copyOf("experiment");
    put(node, "strong", one.release);
    const parts = [one.shadow ? "in the shadow" : one.share === null ? "" : `${percent(one.share)} of the users`];
    parts.push(one.lists === null ? "" : `${count(one.lists)} ${one.lists === 1 ? "list" : "lists"}`);
    put(node, ".share", parts.filter(Boolean).join(" · "));
    put(node, ".rate", rate(one));
    const bar = node.querySelector(".interval");
    bar.hidden = one.low === null || one.high === null;
    bar.style.setProperty("--low", String((one.low ?? 0) / top));
    bar.style.setProperty("--high", String((one.high ?? 0) / top));
    return node;
  }));
}

function rate(one) {
  if (one.shadow) return one.overlap === null ? "nobody sees its lists" : `${percent(one.overlap)} of a list would be its own too`;
  if (one.rate === null) return "no clicks measured yet";
  return `${percent(one.rate)} clicks${one.low === null || one.high === null ? "" : ` (${percent(one.low)} to ${percent(one.high)})`}`;
}
