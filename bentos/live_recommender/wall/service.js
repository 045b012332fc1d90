// Questions to the service that the page came from. Ids have 63 bits and JavaScript's numbers 53: ids are kept as text.

const IDS = /"(room_id|author_id|user_id)":(\d+)/g; // within a string the quotes would be escaped
let key = sessionStorage.getItem("key") || "";
const headers = () => (key ? { authorization: `Bearer ${key}` } : {});

export const asksForKey = new EventTarget();

export function useKey(given) {
  key = given;
  sessionStorage.setItem("key", given);
}

export async function ask(path, body) {
  const options = body ? { method: "POST", body, headers: { ...headers(), "content-type": "application/json" } } : { headers: headers() };
  const response = await fetch(path, options);
  const answer = JSON.parse((await response.text()).replace(IDS, '"$1":"$2"'));
  if (response.status === 401 || response.status === 403) asksForKey.dispatchEvent(new Event("asked"));
  if (!response.ok) throw new Error(answer.error || `the service answered ${response.status}`);
  return answer;
}

// A picture as a data: URL; its key travels in a header, so an address alone would not do.
export async function picture(path) {
  const response = await fetch(path, { headers: headers() });
  if (!response.ok) throw new Error(`the service answered ${response.status}`);
  const blob = await response.blob();
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
