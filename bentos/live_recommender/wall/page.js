// Small helpers for the page. What users wrote is only ever put in as text (textContent): no markup of theirs is read.

export const byId = (id) => document.getElementById(id);
export const copyOf = (template) => byId(template).content.firstElementChild.cloneNode(true);

export function put(node, selector, text) {
  const target = selector ? node.querySelector(selector) : node;
  if (target.textContent !== text) target.textContent = text;
  return target;
}

export function element(name, className, text = "") {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.textContent = text;
  return node;
}

// Puts the nodes into the list in their order. Nodes that are in place are not touched, and the focus stays where it was.
export function arrange(list, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  const focused = document.activeElement;
  nodes.forEach((node, place) => {
    if (list.children[place] !== node) list.insertBefore(node, list.children[place] || null);
  });
  if (focused && focused !== document.activeElement && list.contains(focused)) focused.focus({ preventScroll: true });
}

export async function every(milliseconds, work) {
  for (;;) {
    if (!document.hidden) await work();
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
  }
}
