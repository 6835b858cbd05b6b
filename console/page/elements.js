// What every part of the page uses: the texts, elements made of text only, and requests.

export const LANGUAGE = new URLSearchParams(location.search).get("lang") === "en" ? "en" : "ko";
const LOCALE = { ko: "ko-KR", en: "en-GB" }[LANGUAGE];
export const DEFAULT_PRODUCT = "donut"; // What a checkout sells that names no product.

export const state = {
  texts: {},
  view: null,
  render: () => {}, // Shows the view; console.js sets it.
  connection: "connecting",
  offset: Infinity, // This clock minus the server's in milliseconds, by the fastest event.
  product: DEFAULT_PRODUCT, // The slug of the chosen one.
  keyed: null, // The last purchase that had a key, to send it again.
  rushed: "", // What was said of the last rush.
  order: null, // The order whose timeline is open.
  dismissed: new Set(), // Names of notices that are hidden until their reason comes anew.
  failures: new Map(), // Why parts of the page could not be shown, by their name.
};

export const find = (selector, root = document) => root.querySelector(selector);
export const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];
export const byNumber = (name) => find(`[data-number="${name}"]`);
export const action = (name) => find(`[data-action="${name}"]`);

export function t(key, values = {}) {
  const text = state.texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) =>
    name in values ? shown(values[name]) : whole,
  );
}

export function shown(value) {
  return value !== null && typeof value === "object" ? JSON.stringify(value) : String(value);
}

export const grouped = new Intl.NumberFormat(LOCALE);
const dayTime = new Intl.DateTimeFormat(LOCALE, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
export const clock = (at) => dayTime.format(at);
export const exactClock = (at) => `${clock(at)}.${String(Math.floor(at) % 1000).padStart(3, "0")}`;
export const inSeconds = (milliseconds) =>
  t("page.seconds", { seconds: (milliseconds / 1000).toFixed(1) });
export const short = (id) => id.slice(0, 8);

function now() {
  return state.connection === "live" ? Date.now() - state.offset : state.view.at;
}

// Change a text only if it differs, so that a selection survives and nothing is announced twice.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setData(element, values) {
  for (const [name, value] of Object.entries(values)) {
    if (element.dataset[name] !== String(value)) element.dataset[name] = value;
  }
}

export function make(tag, { data = {}, on = {}, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  setData(element, data);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...children);
  return element;
}

export function button(text, data, click) {
  return make("button", { type: "button", data, on: { click } }, text);
}

// Make the children of an element those of the items, in their order. What stays is not recreated.
export function list(parent, items, key, create, update = () => {}) {
  const existing = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const children = new Map();
  for (const item of items) {
    let name = String(key(item));
    while (children.has(name)) name += "+";
    const child = existing.get(name) ?? create(item);
    child.dataset.key = name;
    update(child, item);
    children.set(name, child);
  }
  for (const [name, child] of existing) if (!children.has(name)) child.remove();
  let index = 0;
  for (const child of children.values()) {
    if (parent.children[index] !== child)
      parent.insertBefore(child, parent.children[index] ?? null);
    index += 1;
  }
}

// Show a value that its source may not have reported.
export function number(name, value, text = (it) => grouped.format(it)) {
  const element = byNumber(name);
  const known = value !== null && value !== undefined;
  setText(element, known ? text(value) : "–");
  element.title = known ? "" : t("page.unknown");
}

const countdowns = new Map();

export function countDown(element, until, key) {
  if (until === null || until === undefined) {
    countdowns.delete(element);
    setText(element, "");
    return;
  }
  countdowns.set(element, { until, key });
  showCountdown(element);
}

function showCountdown(element) {
  const { until, key } = countdowns.get(element);
  setText(element, t(key, { seconds: Math.max(0, Math.ceil((until - now()) / 1000)) }));
}

export function tick() {
  for (const element of countdowns.keys()) {
    if (element.isConnected) showCountdown(element);
    else countdowns.delete(element);
  }
}

// --- requests ---
const pending = new Set();

export function enable(element, allowed) {
  element.disabled = !allowed || pending.has(element);
}

export async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error(t("page.not_sent"));
  }
  const text = await response.text();
  if (response.ok) return text;
  throw new Error(rejection(text) ?? `HTTP ${response.status}`);
}

// Return why the server has rejected a request, or undefined if it does not say.
function rejection(text) {
  try {
    const { key, values, message } = JSON.parse(text);
    return key ? t(key, values) : message;
  } catch {
    return undefined;
  }
}

export async function post(path, body = {}) {
  const headers = { "Content-Type": "application/json", "X-Console": "1" };
  const text = await request(path, { method: "POST", headers, body: JSON.stringify(body) });
  return text ? JSON.parse(text) : {};
}

// Do something while its button is disabled. Show the text of what it returns, or why it failed.
// What was said of earlier actions disappears, except of a rush, whose numbers are still shown.
export async function act(element, part, work) {
  if (pending.has(element)) return;
  const result = find(`[data-result="${part}"]`);
  const focused = document.activeElement === element;
  for (const each of findAll('[data-result]:not([data-result="rush"])')) each.textContent = "";
  pending.add(element);
  element.disabled = true;
  element.setAttribute("aria-busy", "true");
  try {
    const { text, failed, outcome = "" } = await work();
    result.textContent = text;
    setData(result, { failed: Boolean(failed), outcome });
  } catch (error) {
    setData(result, { failed: true, outcome: "" });
    result.textContent = t("page.failed", { reason: error.message });
  } finally {
    pending.delete(element);
    element.disabled = false;
    element.removeAttribute("aria-busy");
    state.render(state.view);
    if (focused && document.activeElement === document.body) element.focus();
  }
}

// Ask before something real happens. Return whether the visitor agrees.
export function agrees(key, values = {}) {
  const { asks_before_buying, environment } = state.view;
  if (!asks_before_buying) return Promise.resolve(true);
  const dialog = find("#ask");
  setText(find("#ask-title"), t("page.ask.title", { environment }));
  setText(find("#ask-text"), t(key, { environment, ...values }));
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), {
      once: true,
    });
  });
}

// Return the product that the visitor has chosen, if there is one.
export function chosen() {
  const { products } = state.view;
  return products.find(({ slug }) => slug === state.product) ?? products[0];
}

export function outcomeOf({ status, body }) {
  if (status !== 200) return "failed";
  return body.purchased ? "sold" : "out_of_stock";
}

// Send a command, and return the text for it, if there is one.
export async function command(path, key, body = {}, values = {}) {
  await post(path, body);
  return { text: key ? t(key, values) : "" };
}
