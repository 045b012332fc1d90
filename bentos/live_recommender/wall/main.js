// The live wall. It asks the service it came from, and shows what it says.

import { showExperiments } from "./experiments.js";
import { forget, recommend, show, ticked } from "./lists.js";
import { byId, every } from "./page.js";
import { followControls, showRooms, wantedRooms } from "./rooms.js";
import { ask, asksForKey, useKey } from "./service.js";
import { lost, showStatus } from "./status.js";
import { chosenUser, describeUser, findUsers, nextUser } from "./users.js";

let at = Date.now(); // by the service

async function look() {
  try {
    const [status, page] = await Promise.all([ask("status"), wantedRooms()]);
    at = Date.parse(page.at);
    showStatus(status, at);
    ticked(status.last_tick_at);
    showRooms(page, chosenUser);
  } catch (error) {
    lost(error);
  }
}

async function list() {
  describeUser(at);
  const user = chosenUser();
  if (!user) return;
  try {
    const answer = await recommend(user);
    if (user === chosenUser()) show(answer, chosenUser);
  } catch (error) {
    byId("list-note").textContent = error.message;
  }
}

async function users() {
  try {
    await findUsers();
  } catch (error) {
    byId("user-note").textContent = error.message;
  }
}

function changeUser() {
  forget();
  list();
}

asksForKey.addEventListener("asked", () => {
  byId("key-form").hidden = false;
});
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(byId("key").value);
  byId("key-form").hidden = true;
  look().then(users).then(list);
});
byId("user").addEventListener("change", changeUser);
byId("user-form").addEventListener("submit", (event) => {
  event.preventDefault();
  changeUser();
});
byId("next-user").addEventListener("click", nextUser);
byId("views").addEventListener("change", list);
followControls(look);
every(1000, look);
every(3000, list);
every(20_000, users);
every(15_000, showExperiments);
