// Releases that are served side by side, where the service offers `GET /experiments`. Without it nothing is shown.

import { arrange, byId, copyOf, put } from "./page.js";
import { ask } from "./service.js";
import { count, percent } from "./words.js";

const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

let offered = null; // whether the service's document names the path

export async function showExperiments() {
  try {
    if (offered === null) offered = "/experiments" in ((await ask("docs.json")).paths || {});
    const answer = offered ? await ask("experiments") : [];
    const rows = Array.isArray(answer) ? answer : answer.experiments || answer.releases || answer.arms || [];
    show(rows.filter((row) => row && typeof row.release === "string"));
  } catch {
    byId("experiments").hidden = true; // the status says if the service is away
  }
}

function show(rows) {
  byId("experiments").hidden = rows.length < 2;
  const top = Math.max(1e-9, ...rows.map((row) => number(row.ctr_high) ?? number(row.ctr) ?? 0));
  arrange(byId("experiment-rows"), rows.map((row) => {
    const node = copyOf("experiment");
    put(node, "strong", row.release);
    const lists = number(row.lists) === null ? "" : ` · ${count(row.lists)} lists`;
    put(node, ".share", row.shadow ? `shadow${lists}` : `${number(row.share) === null ? "" : percent(row.share)}${lists}`);
    const [rate, low, high] = [number(row.ctr), number(row.ctr_low), number(row.ctr_high)];
    put(node, ".rate", rate === null ? "no clicks measured yet" : `${percent(rate)}${low === null || high === null ? "" : ` (${percent(low)} to ${percent(high)})`}`);
    const bar = node.querySelector(".interval");
    bar.hidden = low === null || high === null;
    bar.style.setProperty("--low", String((low ?? 0) / top));
    bar.style.setProperty("--high", String((high ?? 0) / top));
    return node;
  }));
}
