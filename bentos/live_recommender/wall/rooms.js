// The wall of rooms: cards, search and pages.

import { arrange, byId, copyOf, element, put } from "./page.js";
import { whyButton } from "./reasons.js";
import { ask, picture } from "./service.js";
import { count, freshness, span, subject, sureness, titleOf } from "./words.js";

const ROOMS = 24; // of a page
const TURNED_MS = 45_000; // how long a new subject stays marked
const HUES = 6;

const cards = new Map(); // room id → {node, path, code, turnedAt}; the code is the first, coarsest
let offset = 0;
let search = "";

export function wantedRooms() {
  return ask(`rooms?limit=${ROOMS}&offset=${offset}${search ? `&search=${encodeURIComponent(search)}` : ""}`);
}

export function showRooms(page, user) {
  if (!page.rooms.length && offset && page.total) {
    offset = ROOMS * Math.floor((page.total - 1) / ROOMS);
    return;
  }
  const last = offset + page.rooms.length;
  put(byId("rooms-count"), "", search ? `${count(page.total)} found` : "most viewers first");
  byId("empty").hidden = page.total > 0;
  put(byId("empty"), "", search ? "No live room has these words." : "Nobody is live. “make demo” plays a landed day into this service.");
  byId("pages").hidden = page.total <= ROOMS;
  put(byId("page-words"), "", `${count(offset + 1)} to ${count(last)} of ${count(page.total)}`);
  byId("previous").disabled = offset === 0;
  byId("next").disabled = last >= page.total;
  const at = Date.parse(page.at); // by the service's time: this machine's clock may be another
  const nodes = page.rooms.map((room) => {
    const card = cards.get(room.room_id) || newCard(room, user);
    showRoom(card, room, at);
    return card.node;
  });
  for (const [id] of cards) if (!page.rooms.some((room) => room.room_id === id)) cards.delete(id);
  arrange(byId("rooms"), nodes);
}

function newCard(room, user) {
  const card = { node: copyOf("room"), path: "", code: null, turnedAt: 0 };
  card.node.querySelector(".tile").dataset.hue = String(Number(room.author_id.slice(-6)) % HUES);
  whyButton(card.node, room.room_id, user);
  cards.set(room.room_id, card);
  return card;
}

function showRoom(card, room, at) {
  const { node } = card;
  put(node, "h3", titleOf(room)).title = titleOf(room);
  put(node, ".initial", initial(titleOf(room)));
  const begun = (at - Date.parse(room.started_at)) / 1000;
  const category = [room.category, room.language].filter(Boolean).join(" · ");
  put(node, ".category", category).hidden = !category;
  put(node, ".about", `${count(room.viewers)} watching · on for ${span(60 * Math.max(1, Math.floor(begun / 60)))}`);
  showSubject(card, room);
  showSaid(node.querySelector(".said"), room.said);
  const age = freshness(room.content_age_seconds, room.said ? (at - Date.parse(room.said.ended_at)) / 1000 : null);
  put(node, ".age-words", age.words);
  node.querySelector(".age").dataset.state = age.state;
  showFrame(node.querySelector(".frame"), room);
}

function showSubject(card, room) {
  const { node } = card;
  const { path, certainty } = subject(room);
  const known = room.content_age_seconds !== null;
  const words = !known ? "subject not known yet" : path || `unnamed, code ${room.codes.join("-")}`;
  if (known && card.path && card.code !== room.codes[0] && card.path !== path) {
    card.turnedAt = Date.now();
    put(node, ".turned", `was ${card.path}`);
  }
  if (known) [card.path, card.code] = [path, room.codes[0]];
  const turned = Date.now() - card.turnedAt < TURNED_MS;
  node.classList.toggle("has-turned", turned);
  node.querySelector(".turned").hidden = !turned;
  put(node, ".subject .path", words).title = words;
  node.querySelector(".sure").hidden = !known || certainty === null;
  if (!known || certainty === null) return;
  const sure = sureness(certainty);
  node.querySelector(".meter").dataset.level = String(sure.level);
  put(node, ".sure-words", sure.words);
}

function showSaid(box, said) {
  put(box, ".speech", said ? said.speech : "").hidden = !said?.speech;
  const lines = said ? said.chat.slice(0, 2).reverse() : []; // the newest last, as in a chat
  const list = box.querySelector(".chat");
  list.hidden = !lines.length;
  if ([...list.children].map((line) => line.textContent).join("\n") !== lines.join("\n")) {
    list.replaceChildren(...lines.map((line) => {
      const item = element("li", "", line);
      item.dir = "auto";
      return item;
    }));
  }
  box.classList.toggle("silent", !said);
}

function initial(title) {
  const [letter] = title.match(/[\p{L}\p{N}]/u) || ["·"];
  return letter.toLocaleUpperCase();
}

// A picture is asked for when its name changes.
async function showFrame(image, room) {
  if ((image.dataset.name || "") === (room.frame || "")) return;
  image.dataset.name = room.frame || "";
  image.hidden = !room.frame;
  if (!room.frame) return;
  try {
    image.src = await picture(`rooms/${room.room_id}/frame`);
  } catch {
    image.hidden = true; // the initial is seen instead, and the picture is asked for again
    image.dataset.name = "";
  }
}

export function followControls(look) {
  let typed;
  const turn = (to) => {
    offset = Math.max(0, to);
    look().then(() => byId("rooms").scrollIntoView({ block: "nearest" }));
  };
  byId("previous").addEventListener("click", () => turn(offset - ROOMS));
  byId("next").addEventListener("click", () => turn(offset + ROOMS));
  const find = () => {
    clearTimeout(typed);
    [search, offset] = [byId("search").value.trim(), 0];
    look();
  };
  byId("search").addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(find, 250);
  });
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    find();
  });
}
