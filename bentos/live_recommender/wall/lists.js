// A user's list: as it is now, beside the one before the last refresh, and beside the one without the words.

import { arrange, byId, copyOf, put } from "./page.js";
import { whyButton } from "./reasons.js";
import { ask } from "./service.js";
import { percent, subject, titleOf } from "./words.js";

const PICKS = 6; // rooms of a list: too few for a place that explores
const KEPT = 30; // answers

let answers = []; // of this user, oldest first
let before = null; // the last answer before the last refresh
let tick = null;
const rows = new Map(); // room id → row of the list

export const wantedView = () => document.querySelector("input[name=view]:checked").value;

export function forget() {
  [answers, before, tick] = [[], null, null];
  for (const list of ["now-list", "left-list", "right-list"]) byId(list).replaceChildren();
  rows.clear();
}

export function ticked(lastTickAt) {
  if (lastTickAt === null || lastTickAt === tick) return;
  const older = answers.filter((answer) => Date.parse(answer.at) < Date.parse(lastTickAt));
  if (older.length) before = older.at(-1);
  tick = lastTickAt;
}

export async function recommend(user) {
  const asked = (content) => `{"user_id": ${user}, "k": ${PICKS}, "record": false, "content": ${content}}`;
  const view = wantedView();
  const [now, author] = await Promise.all([ask("recommend", asked(true)), view === "author" ? ask("recommend", asked(false)) : null]);
  answers.push(now);
  if (answers.length > KEPT) answers.shift();
  return { now, author };
}

export function show({ now, author }, user) {
  const view = wantedView();
  byId("now-list").hidden = view !== "now";
  byId("compare").hidden = view === "now" || (view === "refresh" && !before) || (view === "author" && !author);
  put(byId("list-note"), "", note(view, now));
  if (view === "now") showNow(now, user);
  if (view === "refresh" && before) showBoth("Before the refresh", before.rooms, "Now", now.rooms, (room) => moved(room, before.rooms), "left");
  if (view === "author" && author) showBoth("By who is streaming", author.rooms, "By what is said", now.rooms, (room) => moved(room, author.rooms, "only"), "only");
}

function note(view, now) {
  const lacks = now.fallbacks.length ? `This list is ${now.fallbacks.join(", ").replaceAll("_", " ")}.` : "";
  if (view === "author") return lacks;
  if (!before) return `${lacks} The list before and after shows with the next refresh, within half a minute.`.trim();
  const moves = placed(now.rooms).map((room) => moved(room, before.rooms).kind);
  const left = before.rooms.filter((room) => !now.rooms.some((other) => other.room_id === room.room_id)).length;
  const told = [["up", "up"], ["down", "down"], ["new", "new"]]
    .map(([kind, words]) => [moves.filter((move) => move === kind).length, words])
    .concat([[left, "left"]])
    .filter(([number]) => number)
    .map(([number, words]) => `${number} ${words}`);
  return `${lacks} Since the last refresh: ${told.length ? told.join(", ") : "no room moved"}.`.trim();
}

// How a room moved from the other list to its place now.
function moved(room, others, fresh = "new") {
  const was = others.findIndex((other) => other.room_id === room.room_id);
  if (was < 0) return { kind: "new", text: fresh, words: "not in the other list" };
  const by = was - (room.place - 1);
  if (by > 0) return { kind: "up", text: `▲ ${by}`, words: `up ${by}, was ${was + 1}` };
  if (by < 0) return { kind: "down", text: `▼ ${-by}`, words: `down ${-by}, was ${was + 1}` };
  return { kind: "same", text: "", words: "same place" };
}

const placed = (rooms) => rooms.map((room, place) => ({ ...room, place: place + 1 }));

function mark(node, move) {
  const chip = put(node, ".moved", move.text);
  chip.className = `moved ${move.kind}`;
  chip.title = move.words;
  if (move.text) chip.setAttribute("aria-label", move.words);
  else chip.removeAttribute("aria-label");
}

function showNow(answer, user) {
  const nodes = placed(answer.rooms).map((room) => {
    let node = rows.get(room.room_id);
    if (!node) {
      node = copyOf("pick");
      whyButton(node, room.room_id, user);
      rows.set(room.room_id, node);
    }
    put(node, ".rank", String(room.place));
    put(node, "h3", titleOf(room)).title = titleOf(room);
    put(node, ".reason", room.reason);
    put(node, ".path", pathWords(room)).hidden = !pathWords(room);
    put(node, ".chance", percent(room.score)).title = "Chance that this user enters the room";
    mark(node, before ? moved(room, before.rooms) : { kind: "same", text: "", words: "" });
    return node;
  });
  for (const [id] of rows) if (!answer.rooms.some((room) => room.room_id === id)) rows.delete(id);
  arrange(byId("now-list"), nodes);
}

function pathWords(room) {
  if (room.content_age_seconds === null) return "";
  const was = before?.rooms.find((other) => other.room_id === room.room_id);
  const [is, old] = [subject(room).path, was ? subject(was).path : ""];
  if (old && is && was.codes[0] !== room.codes[0]) return `was about ${old}`;
  return is && !room.reason.includes(room.code_names[0] || is) ? `now about ${is}` : "";
}

function showBoth(leftTitle, leftRooms, rightTitle, rightRooms, move, gone) {
  put(byId("left-title"), "", leftTitle);
  put(byId("right-title"), "", rightTitle);
  const right = placed(rightRooms);
  const left = placed(leftRooms).map((room) => {
    const node = brief(room);
    const stays = right.some((other) => other.room_id === room.room_id);
    mark(node, stays ? { kind: "same", text: "", words: "" } : { kind: "gone", text: gone, words: "not in the other list" });
    return node;
  });
  byId("left-list").replaceChildren(...left);
  byId("right-list").replaceChildren(...right.map((room) => {
    const node = brief(room);
    mark(node, move(room));
    return node;
  }));
}

function brief(room) {
  const node = copyOf("brief");
  put(node, ".rank", String(room.place));
  put(node, ".name", titleOf(room)).title = titleOf(room);
  return node;
}
