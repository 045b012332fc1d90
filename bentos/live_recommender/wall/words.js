// Numbers as words.

export const FRESH_SECONDS = 40;

export const count = (value) => Math.round(value).toLocaleString("en");
export const percent = (value) => `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %`;
const INK = /[^\s\p{C}\p{Z}]/u; // a title may consist of what has no ink
export const titleOf = (room) => (INK.test(room.title || "") ? room.title : `Room ${room.room_id}`);
const many = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 100 && seconds !== 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : minutes < 2880 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} days`;
}

export function ago(seconds) {
  if (seconds < 8) return "just now";
  if (seconds < 55) return `${5 * Math.round(seconds / 5)} seconds ago`;
  if (seconds < 90) return "a minute ago";
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${many(minutes, "minute")} ago`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${many(hours, "hour")} ago` : `${Math.round(hours / 24)} days ago`;
}

// How old the words and the subject of a room are: a silent room is read again and again, and nothing is heard.
export function freshness(content, heard) {
  if (content === null) return { words: "Known by its streamer alone", state: "none" };
  const state = content <= FRESH_SECONDS ? "fresh" : "old";
  return { words: heard === null ? "Nothing said yet" : `Heard ${ago(heard)}`, state };
}

// The path of names, and how sure it is: as sure as the least sure level down to the last name.
export function subject(room) {
  const named = room.code_names.map((name, level) => ({ name, level })).filter(({ name }) => name);
  const path = named.length ? named.map(({ name }) => name).join(" › ") : "";
  const certainty = room.code_certainty ? Math.min(...room.code_certainty.slice(0, (named.at(-1)?.level ?? 0) + 1)) : null;
  return { path, certainty };
}

export function sureness(certainty) {
  if (certainty >= 0.5) return { words: "clear", level: 3 };
  return certainty > 0.2 ? { words: "likely", level: 2 } : { words: "unsure", level: 1 };
}
