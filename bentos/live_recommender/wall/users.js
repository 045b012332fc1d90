// The picker: users whom the service knows, by what they entered, or any other id.

import { byId, element, put } from "./page.js";
import { ask } from "./service.js";
import { ago, count } from "./words.js";

const USERS = 40;
const OTHER = "other";
const DAY_SECONDS = 86_400; // histories of a release may be of an earlier time

let known = new Map(); // user id → user

export function chosenUser() {
  const chosen = byId("user").value;
  if (chosen !== OTHER) return chosen;
  return byId("other").checkValidity() ? byId("other").value : "";
}

// The users stay in the order of the first answer, so that the choice does not move under the reader's hand.
export async function findUsers() {
  const { users } = await ask(`users?limit=${USERS}`);
  const fresh = users.filter((user) => !known.has(user.user_id));
  for (const user of users) known.set(user.user_id, user);
  const select = byId("user");
  const first = !select.querySelector("option[data-user]");
  if (first && !users.length && select.querySelector("option[data-none]")) return; // a reader may have chosen another id
  if (first) {
    const other = element("option", "", "another user id …");
    other.value = OTHER;
    select.replaceChildren(other);
    if (!users.length) {
      const none = element("option", "", "no user has a history yet");
      [none.value, none.dataset.none] = ["", "yes"];
      select.prepend(none);
      select.value = "";
    }
  }
  for (const user of first ? users : fresh) {
    if (!first && known.size > 2 * USERS) break;
    const option = element("option", "", `${user.user_id}${user.entered.length ? ` · ${user.entered[0]}` : ""}`);
    [option.value, option.dataset.user] = [user.user_id, "yes"];
    select.insertBefore(option, select.lastElementChild);
  }
  if (first && users.length) {
    // Of the latest, one whose history says most.
    select.value = users.slice(0, 10).reduce((best, user) => (user.engagements > best.engagements ? user : best)).user_id;
    select.dispatchEvent(new Event("change"));
  }
}

export function describeUser(at) {
  byId("other-row").hidden = byId("user").value !== OTHER;
  const user = known.get(chosenUser());
  if (!user) {
    put(byId("user-note"), "", "");
    return;
  }
  const about = user.entered.length ? `, mostly about ${user.entered.join("; ")}` : "";
  const since = Math.max(0, (at - Date.parse(user.newest_at)) / 1000);
  const last = since < DAY_SECONDS ? ` The last ${ago(since)}.` : "";
  put(byId("user-note"), "", `Entered ${count(user.engagements)} ${user.engagements === 1 ? "room" : "rooms"} lately${about}.${last}`);
}

export function nextUser() {
  const options = [...byId("user").querySelectorAll("option[data-user]")];
  if (!options.length) return;
  const place = options.findIndex((option) => option.value === byId("user").value);
  byId("user").value = options[(place + 1) % options.length].value;
  byId("user").dispatchEvent(new Event("change"));
}
