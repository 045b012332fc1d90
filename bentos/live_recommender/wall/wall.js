// The live wall. It asks the service it came from, every second, and shows what it says. What users wrote is only ever put in
// as text (textContent): no markup of theirs is read.

const ROOMS = 60;            // cards
const PICKS = 6;             // rooms of a list
const GOAL_SECONDS = 40;     // staleness
const SPARK_POINTS = 300;    // seconds shown
const CHANGED_MS = 8000;     // how long a new code path stays marked

const byId = (id) => document.getElementById(id);
const cards = new Map();     // room id → {node, path, changedAt}
const spark = [];
let key = sessionStorage.getItem("key") || "";

async function ask(path, body) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const options = body ? { method: "POST", body, headers: { ...headers, "content-type": "application/json" } } : { headers };
  const response = await fetch(path, options);
  // Ids have 63 bits and JavaScript's numbers 53: ids are kept as text. (Within a string the quotes would be escaped.)
  const answer = JSON.parse((await response.text()).replace(/"(room_id|author_id)":(\d+)/g, '"$1":"$2"'));
  if (response.status === 401 || response.status === 403) byId("key-form").hidden = false;
  if (!response.ok) throw new Error(answer.error || `the service answered ${response.status}`);
  return answer;
}

const seconds = (value) => (value === null ? "–" : value < 100 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`);
const duration = (ms) => {
  const minutes = Math.max(0, Math.round(ms / 60000));
  return minutes < 120 ? `${minutes} min` : minutes < 2880 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} days`;
};
const count = (value) => Math.round(value).toLocaleString("en");

function say(problem) {
  byId("state").textContent = problem;
  byId("state").hidden = !problem;
}

function showStatus(status) {
  byId("live-rooms").textContent = count(status.live_rooms);
  byId("staleness-p50").textContent = seconds(status.staleness_p50_seconds);
  byId("staleness-p99").textContent = seconds(status.staleness_p99_seconds);
  byId("waiting").textContent = count(status.windows_waiting);
  byId("events-rate").textContent = count(status.events_per_second);
  byId("lists-rate").textContent = status.lists_per_second.toFixed(1);
  const told = status.degraded ? ["degraded: the refresh does not keep up, some rooms keep older codes"] : [];
  if (status.from_snapshot) told.push("no event has come yet: these are the rooms of the release's snapshot, not of now");
  say([...told, ...status.problems].join(" · "));
  drawSpark(status.staleness_p99_seconds);
}

function drawSpark(value) {
  if (value !== null) spark.push(value);
  if (spark.length > SPARK_POINTS) spark.shift();
  const top = Math.max(GOAL_SECONDS * 1.25, ...spark);
  const y = (one) => (40 * (1 - one / top)).toFixed(1);
  const points = spark.map((one, place) => `${(160 * (1 - (spark.length - 1 - place) / SPARK_POINTS)).toFixed(1)},${y(one)}`);
  const svg = byId("spark");
  svg.querySelector("polyline").setAttribute("points", points.join(" "));
  const goal = svg.querySelector(".goal");
  goal.setAttribute("y1", y(GOAL_SECONDS));
  goal.setAttribute("y2", y(GOAL_SECONDS));
}

// Levels without a name are left out; a path without any is shown by its numbers.
function showPath(list, room) {
  const names = room.code_names.filter(Boolean);
  list.replaceChildren(...(names.length ? names : [`code ${room.codes.join("-")}`]).map((name) => {
    const step = document.createElement("li");
    step.textContent = name;
    return step;
  }));
}

function showRooms(page) {
  const now = Date.now();
  byId("rooms-count").textContent = page.total > page.rooms.length ? `${page.rooms.length} of ${count(page.total)}, most viewers first` : "";
  byId("empty").hidden = page.total > 0;
  const order = page.rooms.map((room) => {
    const card = cards.get(room.room_id) || { node: byId("room").content.firstElementChild.cloneNode(true), path: null, changedAt: 0 };
    const path = room.codes.join("/");
    if (card.path !== null && card.path !== path) card.changedAt = now;
    if (card.path !== path) showPath(card.node.querySelector(".path"), room);
    card.path = path;
    cards.set(room.room_id, card);
    showRoom(card.node, room, Date.parse(page.at));  // by the service's time: this machine's clock may be another
    card.node.classList.toggle("changed", now - card.changedAt < CHANGED_MS);
    return card.node;
  });
  for (const [id] of cards) if (!page.rooms.some((room) => room.room_id === id)) cards.delete(id);
  const list = byId("rooms");
  if (order.some((node, place) => list.children[place] !== node) || list.children.length !== order.length) list.replaceChildren(...order);
}

function showRoom(node, room, at) {
  const age = room.content_age_seconds;
  put(node, "h3", room.title || `room ${room.room_id}`);
  put(node, ".viewers", `${count(room.viewers)} watching`);
  put(node, ".about", [room.category, room.language, `on for ${duration(at - Date.parse(room.started_at))}`].filter(Boolean).join(" · "));
  put(node, "blockquote", room.windows.length ? room.windows[0].text : "no window has ended yet");
  const mark = put(node, ".age", age === null ? "known by its author alone" : `${Math.round(age)} s old`);
  mark.classList.toggle("fresh", age !== null && age <= GOAL_SECONDS);
  mark.classList.toggle("old", age !== null && age > GOAL_SECONDS);
  put(node, ".id", `#${room.room_id}`);
  showFrame(node.querySelector(".frame"), room);
}

// A picture is asked for when its name changes; its key travels in a header, so an address alone would not do.
async function showFrame(image, room) {
  if ((image.dataset.name || "") === (room.frame || "")) return;
  image.dataset.name = room.frame || "";
  image.hidden = !room.frame;
  if (!room.frame) return;
  try {
    const response = await fetch(`rooms/${room.room_id}/frame`, { headers: key ? { authorization: `Bearer ${key}` } : {} });
    if (!response.ok) throw new Error(`the service answered ${response.status}`);
    const reader = new FileReader();
    reader.onload = () => { image.src = reader.result; };
    reader.readAsDataURL(await response.blob());
  } catch (error) {
    image.hidden = true;
    image.dataset.name = "";
  }
}

function put(node, selector, text) {
  const target = node.querySelector(selector);
  if (target.textContent !== text) target.textContent = text;
  return target;
}

function showPicks(list, answer) {
  list.replaceChildren(...answer.rooms.map((room) => {
    const node = byId("pick").content.firstElementChild.cloneNode(true);
    put(node, "strong", room.title || `room ${room.room_id}`);
    put(node, ".score", `${(100 * room.score).toFixed(1)} %`);
    put(node, "em", room.reason);
    showPath(node.querySelector(".path"), room);
    return node;
  }));
}

async function recommend() {
  const user = byId("user");
  if (!user.checkValidity()) return;
  const asked = (content) => `{"user_id": ${user.value}, "k": ${PICKS}, "record": false, "content": ${content}}`;
  try {
    const [content, author] = await Promise.all([ask("recommend", asked(true)), ask("recommend", asked(false))]);
    showPicks(byId("by-content"), content);
    showPicks(byId("by-author"), author);
    byId("list-note").textContent = content.fallbacks.length ? `without: ${content.fallbacks.join(", ").replaceAll("_", " ")}` : "";
  } catch (error) {
    byId("list-note").textContent = error.message;
  }
}

async function look() {
  try {
    const [status, page] = await Promise.all([ask("status"), ask(`rooms?limit=${ROOMS}`)]);
    byId("release").textContent = `release ${status.release_id}`;
    showStatus(status);
    showRooms(page);
  } catch (error) {
    say(`no answer: ${error.message}`);
  }
}

async function every(milliseconds, work) {
  for (;;) {
    if (!document.hidden) await work();
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
  }
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key").value;
  sessionStorage.setItem("key", key);
  byId("key-form").hidden = true;
  look().then(recommend);
});
byId("user-form").addEventListener("submit", (event) => {
  event.preventDefault();
  recommend();
});
every(1000, look);
every(3000, async () => {
  if (byId("follow").checked || !byId("by-content").children.length) await recommend();
});
