// The state of the service: the line at the top, the figures, the trend, and what a person should look into.

import { byId } from "./page.js";
import { FRESH_SECONDS, ago, count, span } from "./words.js";

const SPARK_SECONDS = 300;
const spark = []; // [seconds since the page began, staleness]

export function say(problem) {
  byId("state").textContent = problem;
  byId("state").hidden = !problem;
}

function pulse(state, words) {
  byId("pulse").dataset.state = state;
  if (byId("pulse-words").textContent !== words) byId("pulse-words").textContent = words;
}

export function lost(error) {
  say(`no answer: ${error.message}`);
  pulse("bad", "no answer");
}

export function showStatus(status, at) {
  byId("live-rooms").textContent = count(status.live_rooms);
  byId("staleness-p50").textContent = span(status.staleness_p50_seconds);
  byId("staleness-p99").textContent = span(status.staleness_p99_seconds);
  byId("events-rate").textContent = count(status.events_per_second);
  byId("lists-rate").textContent = status.lists_per_second.toFixed(1);
  byId("release").textContent = `Release ${status.release_id}`;
  const told = status.degraded ? ["degraded: the refresh does not keep up, some rooms keep older codes"] : [];
  if (status.from_snapshot) told.push("no event has come yet: these are the rooms of the release's snapshot, not of now");
  say([...told, ...status.problems].join(" · "));
  const refreshed = status.last_tick_at === null ? null : (at - Date.parse(status.last_tick_at)) / 1000;
  if (status.degraded || status.problems.length) pulse("bad", "needs attention");
  else if (status.from_snapshot) pulse("wait", "snapshot, no events yet");
  else pulse("good", refreshed === null ? "waiting for the first refresh" : `refreshed ${ago(refreshed)}`);
  drawSpark(status.staleness_p99_seconds);
}

function drawSpark(value) {
  const now = performance.now() / 1000;
  if (value !== null) spark.push([now, value]);
  while (spark.length && now - spark[0][0] > SPARK_SECONDS) spark.shift();
  const top = Math.max(FRESH_SECONDS * 1.5, ...spark.map(([, age]) => age));
  const y = (age) => (38 - (36 * age) / top).toFixed(1);
  const svg = byId("spark");
  const points = spark.map(([when, age]) => `${(160 * (1 - (now - when) / SPARK_SECONDS)).toFixed(1)},${y(age)}`);
  svg.querySelector("polyline").setAttribute("points", points.join(" "));
  const goal = svg.querySelector(".goal");
  goal.setAttribute("y1", y(FRESH_SECONDS));
  goal.setAttribute("y2", y(FRESH_SECONDS));
}
