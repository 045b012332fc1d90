// Why a room stands where it stands for a user: one sentence, its place, and what each kind of knowledge does to the odds.

import { arrange, element } from "./page.js";
import { ask } from "./service.js";
import { count, percent } from "./words.js";

const KINDS = { content: "What is said now", counts: "How the room is doing", history: "What this user entered" };

export function whyButton(node, room_id, user) {
  const button = node.querySelector(".why");
  const box = node.querySelector(".reasons");
  button.addEventListener("click", async () => {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    box.hidden = !open;
    if (!open) return;
    box.replaceChildren(element("p", "note", "asking …"));
    try {
      if (!user()) throw new Error("choose a user first");
      fill(box, await ask(`explain/${room_id}?user_id=${user()}`));
    } catch (error) {
      box.replaceChildren(element("p", "note", error.message));
    }
  });
}

function fill(box, why) {
  const place = why.rank === null ? "Not in this user's ranking" : `Place ${count(why.rank)} of ${count(why.of_rooms)}`;
  const shown = why.times_shown ? `, shown ${why.times_shown === 1 ? "once" : `${why.times_shown} times`} lately without an entry` : "";
  const sentence = element("p", "sentence", why.reason);
  sentence.dir = "auto";
  const bars = element("ul", "bars");
  arrange(bars, Object.entries(KINDS).map(([kind, words]) => bar(words, why.shares[kind])));
  box.replaceChildren(sentence, element("p", "note", `${place}${shown}; chance of a click ${percent(why.scores.click)}.`), bars);
}

function bar(words, share) {
  const row = element("li", share < 0 ? "against" : "for");
  const odds = Math.exp(share);
  const track = element("span", "track");
  const fillOf = element("i", "");
  fillOf.style.setProperty("--share", String(Math.min(1, Math.abs(share) / 2)));
  track.append(fillOf);
  row.append(element("span", "kind", words), track, element("span", "odds", `odds × ${odds < 10 ? odds.toFixed(1) : count(odds)}`));
  return row;
}
