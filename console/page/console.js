// Shows what the console's server reports, and sends what the visitor does.
//
// The server sends the whole View (console/view.py) whenever it changes, and render() shows it.
// Nothing moves by a timer: a timer only counts down to a time that was reported. All texts come
// from console/texts.py, and get into the page as text, never as HTML.
"use strict";

const LANGUAGE = new URLSearchParams(location.search).get("lang") === "en" ? "en" : "ko";
const LOCALE = { ko: "ko-KR", en: "en-GB" }[LANGUAGE];
const STAGES = [1, 2, 3, 4, 5];
const SHOWN_ARRIVALS = 8; // Dots of orders that have arrived, the newest ones.
const RECONNECT_MILLISECONDS = 1000;
const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];
const COMPARISONS = {
  GreaterThanOrEqualToThreshold: "≥",
  GreaterThanThreshold: ">",
  LessThanThreshold: "<",
  LessThanOrEqualToThreshold: "≤",
};
const PHASES = {
  requested: "outbox", published: "queue", queued: "queue", "not placed": "queue",
  placed: "factory", stage: "factory", "called back": "callback",
};
const HOPS = [
  "requested", "published", "queued", "placed", "not placed", "stage", "called back", "arrived", "stuck",
];
const FIELDS = ["receives", "reason", "stage", "quantity", "stock"];
const WITHOUT_ALARM = "Find out what happened to one order"; // The runbook's section.

const state = {
  texts: {},
  view: null,
  connection: "connecting",
  offset: 0, // This clock minus the server's, in milliseconds.
  product: null, // The chosen slug.
  keyed: null, // The last purchase that had a key, to send it again.
  order: null, // The order whose timeline is open.
};

// --- texts, times and elements ---

const find = (selector, root = document) => root.querySelector(selector);
const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];
const byNumber = (name) => find(`[data-number="${name}"]`);
const action = (name) => find(`[data-action="${name}"]`);

function t(key, values = {}) {
  const text = state.texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? shown(values[name]) : whole));
}

function shown(value) {
  return value !== null && typeof value === "object" ? JSON.stringify(value) : String(value);
}

const grouped = new Intl.NumberFormat(LOCALE);
const dayTime = new Intl.DateTimeFormat(LOCALE, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const clock = (at) => dayTime.format(at);
const exactClock = (at) => `${clock(at)}.${String(Math.floor(at) % 1000).padStart(3, "0")}`;
const inSeconds = (milliseconds) => t("page.seconds", { seconds: (milliseconds / 1000).toFixed(1) });
const short = (id) => id.slice(0, 8);

function now() {
  return state.connection === "live" ? Date.now() - state.offset : state.view.at;
}

// Change a text only if it differs, so that a selection survives and nothing is announced twice.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setData(element, values) {
  for (const [name, value] of Object.entries(values)) {
    if (element.dataset[name] !== String(value)) element.dataset[name] = value;
  }
}

function make(tag, { data = {}, on = {}, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  setData(element, data);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...children);
  return element;
}

function button(text, data, click) {
  return make("button", { type: "button", data, on: { click } }, text);
}

// Make the children of an element those of the items, in their order. What stays is not recreated.
function list(parent, items, key, create, update = () => {}) {
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
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
    index += 1;
  }
}

// Show a value that its source may not have reported.
function number(name, value, text = (it) => grouped.format(it)) {
  const element = byNumber(name);
  const known = value !== null && value !== undefined;
  setText(element, known ? text(value) : "–");
  element.title = known ? "" : t("page.unknown");
}

const countdowns = new Map();

function countDown(element, until, key) {
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

function tick() {
  for (const element of countdowns.keys()) {
    if (element.isConnected) showCountdown(element);
    else countdowns.delete(element);
  }
}

// --- what the visitor does ---

const pending = new Set();

function enable(element, allowed) {
  element.disabled = !allowed || pending.has(element);
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error(t("page.not_sent"));
  }
  const text = await response.text();
  if (response.ok) return text;
  let message = `HTTP ${response.status}`;
  try {
    message = JSON.parse(text).message ?? message;
  } catch {
    // What is not JSON is not ours.
  }
  throw new Error(message);
}

async function post(path, body = {}) {
  const headers = { "Content-Type": "application/json", "X-Console": "1" };
  const text = await request(path, { method: "POST", headers, body: JSON.stringify(body) });
  return text ? JSON.parse(text) : {};
}

// Do something while its button is disabled, and show what it returns, or why it failed.
async function act(element, part, work) {
  if (pending.has(element)) return;
  const result = find(`[data-result="${part}"]`);
  const focused = document.activeElement === element;
  pending.add(element);
  element.disabled = true;
  element.setAttribute("aria-busy", "true");
  try {
    const text = await work();
    setData(result, { failed: false });
    if (text !== undefined) result.textContent = text;
  } catch (error) {
    setData(result, { failed: true });
    result.textContent = t("page.failed", { reason: error.message });
  } finally {
    pending.delete(element);
    element.disabled = false;
    element.removeAttribute("aria-busy");
    render(state.view);
    if (focused && document.activeElement === document.body) element.focus();
  }
}

// Ask before something real happens. Return whether the visitor agrees.
function agrees(key, values = {}) {
  const { asks_before_buying, environment } = state.view;
  if (!asks_before_buying) return Promise.resolve(true);
  const dialog = find("#ask");
  setText(find("#ask-title"), t("page.ask.title", { environment }));
  setText(find("#ask-text"), t(key, { environment, ...values }));
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function responseText({ status, milliseconds, body }) {
  const message = status ? body.message ?? body.error ?? "" : t("page.counter.no_response");
  return [status || "–", `${Math.round(milliseconds)} ms`, message].join(" · ");
}

async function send(purchase) {
  if (!(await agrees("page.ask.buy", { quantity: purchase.quantity }))) return "";
  if (purchase.key) state.keyed = purchase;
  return responseText(await post("/buy", purchase));
}

function buy(quantity) {
  return send({
    quantity,
    requester: find("#requester").value,
    key: find("#key").value || null,
    product_id: chosen()?.product_id,
  });
}

async function rush() {
  const [buyers, at_once] = ["#buyers", "#at_once"].map((field) => find(field).valueAsNumber);
  if (!(await agrees("page.ask.rush", { quantity: buyers }))) return "";
  await post("/rush", { buyers, at_once });
  return t("page.rush.started");
}

async function redrive() {
  if (!(await agrees("page.ask.redrive"))) return "";
  return t("page.redrive.done", await post("/redrive"));
}

async function said(path, key, body = {}, values = {}) {
  await post(path, body);
  return key && t(key, values);
}

function onSubmit(form, name, part, work) {
  find(form).addEventListener("submit", (event) => {
    event.preventDefault();
    const element = action(name);
    if (!element.disabled) act(element, part, work);
  });
}

function onClick(name, part, work) {
  action(name).addEventListener("click", (event) => act(event.currentTarget, part, work));
}

function listen() {
  onSubmit("#buy-form", "buy", "counter", () => buy(find("#quantity").valueAsNumber));
  onClick("buy_one", "counter", () => buy(1));
  onClick("again", "counter", () => send(state.keyed));
  action("new_key").addEventListener("click", () => (find("#key").value = crypto.randomUUID()));
  onSubmit("#stocktake-form", "stocktake", "counter", () => {
    const count = find("#count").valueAsNumber;
    return said("/stocktake", "page.counter.stocktake.done", { count }, { quantity: count });
  });
  onSubmit("#rush-form", "rush", "rush", rush);
  onClick("heal_all", "pipeline", () => said("/heal", "page.heal_all.done"));
  onClick("relay", "pipeline", () => said("/relay", "page.relay.done"));
  onClick("redrive", "pipeline", redrive);
  for (const field of ["#quantity", "#count"]) find(field).addEventListener("input", nameButtons);
  for (const field of ["#log-since", "#log-level", "#log-order"]) {
    find(field).addEventListener("input", () => renderLog(state.view));
  }
  action("clear_log").addEventListener("click", () => filterLog("", "0", ""));
  find("#product").addEventListener("change", (event) => {
    state.product = event.target.value;
    render(state.view);
  });
  find("#ask-confirm").addEventListener("click", () => find("#ask").close("yes"));
  for (const element of findAll("[data-close]")) {
    element.addEventListener("click", () => find(`#${element.dataset.close}`).close(""));
  }
  find("#order").addEventListener("close", () => (state.order = null));
  find("#order-log-filter").addEventListener("click", () => {
    const order = state.order;
    find("#order").close();
    filterLog(order, "0", "");
    find("#log-order").focus();
  });
  for (const tabs of findAll('[role="tablist"]')) listenToTabs(tabs);
  new ResizeObserver(placeDots).observe(find("#pipeline"));
  new ResizeObserver(resizeChart).observe(find("#chart"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart?.redraw());
}

function listenToTabs(tablist) {
  const tabs = findAll('[role="tab"]', tablist);
  const choose = (chosenTab) => {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab === chosenTab);
      tab.tabIndex = tab === chosenTab ? 0 : -1;
      find(`#${tab.getAttribute("aria-controls")}`).hidden = tab !== chosenTab;
    }
    const frame = find("#api-frame");
    if (chosenTab.id === "tab-api" && !frame.src) frame.src = "/api.html";
  };
  for (const tab of tabs) tab.addEventListener("click", () => choose(tab));
  tablist.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const next = {
      ArrowRight: (at + 1) % tabs.length,
      ArrowLeft: (at + tabs.length - 1) % tabs.length,
      Home: 0,
      End: tabs.length - 1,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    tabs[next].focus();
    choose(tabs[next]);
  });
}

function nameButtons() {
  const quantity = find("#quantity").value || "?";
  setText(action("buy"), t("page.counter.buy", { quantity }));
  setText(action("stocktake"), t("page.counter.stocktake", { quantity: find("#count").value || "?" }));
}

// --- what the server reports ---

function render(view) {
  if (!view) return;
  state.view = view;
  const live = state.connection === "live";
  const told = view.stories.some((story) => story.name === view.busy);
  // A story assumes that nobody else uses the shop.
  const may = { buy: live && view.can_buy && !told, breaks: live && view.can_break && !told, view: live };
  renderTop(view);
  renderNotices(view);
  renderPipeline(view, may);
  renderCounter(view, may);
  renderBreakages(view, may);
  renderStories(view, may);
  renderStock(view);
  renderChecks(view);
  renderOrders(view);
  renderLog(view);
  if (state.order) renderOpenOrder(view);
}

function renderTop(view) {
  const environment = find("#environment");
  setText(environment, view.environment);
  setData(environment, { environment: view.environment });
  setText(find("#url"), view.url ?? "");
}

function renderConnection() {
  document.documentElement.dataset.connection = state.connection;
  setText(find("#connection"), t(`page.connection.${state.connection}`));
}

function renderNotices(view) {
  const { environment, busy } = view;
  const notices = [];
  const add = (name, kind, text, section) => notices.push({ name, kind, text, section });
  if (state.connection === "lost") add("lost", "bad", t("page.lost", { time: clock(view.at) }));
  if (view.asks_before_buying) add("account", "look", t("page.account.asks", { environment }));
  else if (!view.can_buy) add("account", "look", t("page.account.looks", { environment }));
  for (const [name, reason] of Object.entries(view.problems)) {
    const source = t(`page.source.${name}`);
    add(`problem-${name}`, "warn", t("page.problem", { source, reason }));
  }
  for (const { name, description, state: now } of view.alarms) {
    const text = t("page.fires", { name, description });
    if (now === "ALARM") add(`alarm-${name}`, "bad", text, section(name));
  }
  if (busy === "rush") add("busy", "look", t("page.busy.rush"));
  else if (busy) add("busy", "look", t("page.busy.story", { title: t(`${busy}.title`) }));
  list(
    find("#notices"), notices, (notice) => notice.name,
    (notice) => {
      const link = notice.section ? [runbookButton(notice.section)] : [];
      return make("li", { data: { notice: notice.name } }, make("span"), ...link);
    },
    (row, notice) => {
      setData(row, { kind: notice.kind });
      setText(row.firstElementChild, notice.text);
    },
  );
}

// --- the pipeline ---

function renderPipeline(view, may) {
  const { requested, oldest_requested_seconds, queue, dead_letters, stuck, stages, arrived } = view.pipeline;
  const [last] = view.checkouts;
  const outcome = last ? outcomeOf(last) : "none";
  setText(find("#last-checkout"), last ? String(last.status || "–") : "");
  setData(find("#last-checkout"), { outcome });
  const message = last && (last.body.message ?? t("page.counter.no_response"));
  setText(find("#last-checkout-note"), message || t("page.checkout.none"));
  number("requested", requested);
  const oldest = oldest_requested_seconds ? t("page.outbox.oldest", { seconds: oldest_requested_seconds }) : "";
  setText(find("#oldest"), requested ? oldest : "");
  number("visible", queue?.visible);
  number("in_flight", queue?.in_flight, (count) => t("page.queue.in_flight", { count }));
  const tried = view.orders.filter((order) => order.place === "queue" || order.place === "consumer");
  const [next] = tried.filter((order) => order.receives).sort((a, b) => b.receives - a.receives);
  const values = { receives: next?.receives, most: next?.max_receives };
  setText(byNumber("receives"), next ? t("page.queue.receive", values) : "");
  countDown(find("#retry"), next?.place === "queue" ? next.retry_at : null, "page.queue.retry");
  number("in_production", stages && stages.reduce((sum, count) => sum + count, 0));
  for (const stage of STAGES) number(`stages_${stage}`, stages?.[stage - 1]);
  number("stock", chosen()?.stock);
  setText(find("#arrived-slug"), chosen()?.slug ?? "product");
  number("arrived", arrived, (count) => t("page.arrived.day", { count: grouped.format(count) }));
  number("dead_letters", dead_letters && dead_letters.visible + dead_letters.in_flight);
  number("stuck", stuck);
  setData(find('[data-place="dead_letter"]'), { filled: Boolean(dead_letters?.visible) });
  setData(find('[data-place="stuck"]'), { filled: Boolean(stuck) });
  renderBroken(view, may);
  renderDots(view);
  enable(action("heal_all"), may.view && view.can_break);
  enable(action("relay"), may.breaks);
  enable(action("redrive"), may.buy);
}

function renderBroken(view, may) {
  const broken = view.breakages.filter((breakage) => breakage.remaining > 0);
  for (const station of findAll("[data-part]")) {
    setData(station, { broken: broken.some((breakage) => breakage.part === station.dataset.part) });
  }
  find("#nothing-broken").hidden = broken.length > 0 || !view.can_break;
  list(
    find("#broken-now"), broken, (breakage) => breakage.name,
    ({ name }) => make(
      "li", { data: { brokenNow: name } },
      make("strong", {}, t(`page.breakage.${name}`)),
      make("span", {}, t("page.customers", { notice: t(`page.breakage.${name}.notice`) })),
      make("span", { class: "countdown" }),
      button(t("page.heal"), { heal: name }, (event) => {
        act(event.currentTarget, "pipeline", () => said(`/heal/${name}`, ""));
      }),
    ),
    (row, { remaining }) => {
      countDown(find(".countdown", row), view.at + remaining * 1000, "page.broken.heals");
      enable(find("button", row), may.view && view.can_break);
    },
  );
}

function area({ place, stage }) {
  const part = place === "factory" ? `[data-stage-area="${stage ?? 0}"]` : `[data-place="${place}"]`;
  return find(`${part} .dots`);
}

function renderDots(view) {
  const arrived = view.orders.filter((order) => order.place === "arrived").slice(0, SHOWN_ARRIVALS);
  const orders = [...view.orders.filter((order) => order.place !== "arrived"), ...arrived];
  // Always in the same order: an element that is moved within the document loses its transition.
  orders.sort((a, b) => a.requested_at - b.requested_at || (a.order_id < b.order_id ? -1 : 1));
  list(
    find("#dots"), orders, (order) => order.order_id,
    ({ order_id }) => make("div", { data: { dot: order_id }, on: { click: () => openOrder(order_id) } }),
    (dot, order) => {
      const { order_id, place, quantity, stage, retry_at } = order;
      setData(dot, { at: place, stage: stage ?? "", waits: place === "queue" && Boolean(retry_at) });
      dot.title = t("page.dot", { id: short(order_id), quantity, place: placeOf(order) });
      dot.area = area(order);
    },
  );
  placeDots();
}

// Put each dot into its part of the pipeline, the more of them the smaller.
function placeDots() {
  const origin = find("#pipeline").getBoundingClientRect();
  const groups = new Map();
  for (const dot of find("#dots").children) {
    groups.set(dot.area, [...(groups.get(dot.area) ?? []), dot]);
  }
  for (const [within, dots] of groups) {
    const box = within.getBoundingClientRect();
    if (!box.width) continue;
    const fits = (size) => Math.max(1, Math.floor(box.width / size)) * Math.max(1, Math.floor(box.height / size));
    const pitch = [20, 16, 12, 9, 6].find((size) => fits(size) >= dots.length) ?? 6;
    const columns = Math.max(1, Math.floor(box.width / pitch));
    const most = fits(pitch) - 1;
    const width = Math.min(columns, dots.length) * pitch;
    dots.forEach((dot, index) => {
      const slot = Math.min(index, most);
      const x = box.left - origin.left + (box.width - width) / 2 + ((slot % columns) + 0.5) * pitch;
      const rows = Math.ceil(Math.min(dots.length, most + 1) / columns);
      const top = (box.height - rows * pitch) / 2;
      const y = box.top - origin.top + top + (Math.floor(slot / columns) + 0.5) * pitch;
      dot.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px) scale(${pitch / 20})`;
    });
  }
}

function placeOf({ place, stage }) {
  const text = t(`page.place.${place}`);
  return place === "factory" && stage ? `${text} (${t("page.factory.stage", { stage })})` : text;
}

// --- the counter ---

function chosen() {
  const { products } = state.view;
  return products.find((product) => product.slug === state.product) ?? products[0];
}

function outcomeOf({ status, body }) {
  if (status !== 200) return "failed";
  return body.purchased ? "sold" : "out_of_stock";
}

function renderCounter(view, may) {
  const product = chosen();
  find("#product-choice").hidden = view.products.length < 2;
  list(
    find("#product"), view.products, ({ slug }) => slug,
    ({ slug, name }) => make("option", { value: slug }, name ?? slug),
  );
  setText(find("#product-name"), product ? product.name ?? product.slug : "");
  number("price", product?.price, (price) => t("page.counter.price", { price: grouped.format(price) }));
  number("counter_stock", product?.stock);
  if (product) find("#quantity").max = product.max_quantity;
  nameButtons();
  for (const name of ["buy_one", "buy"]) enable(action(name), may.buy);
  enable(action("again"), may.buy && state.keyed !== null);
  enable(action("stocktake"), may.breaks);
  enable(action("rush"), may.buy && !view.busy);
  renderRush(view.rush);
  find("#no-responses").hidden = view.checkouts.length > 0;
  list(
    find("#responses"), view.checkouts, ({ at, key, milliseconds }) => `${at} ${key} ${milliseconds}`,
    (checkout) => {
      const { at, quantity, key, status, body } = checkout;
      const data = { checkout: "", status, outcome: outcomeOf(checkout) };
      const order = body.order_id ? [orderButton(body.order_id)] : [];
      const used = key ? [make("code", { title: key }, short(key))] : [];
      const count = make("span", {}, t("page.orders.quantity", { quantity }));
      const text = make("span", { class: "text" }, responseText(checkout));
      return make("li", { data }, make("time", {}, clock(at)), count, text, ...used, ...order);
    },
  );
}

function renderRush(rush) {
  const progress = find("#rush-progress");
  progress.max = rush?.buyers || 1;
  progress.value = rush ? rush.sold + rush.out_of_stock + rush.failed : 0;
  for (const name of ["sold", "out_of_stock", "failed", "lost"]) number(name, rush?.[name]);
  for (const name of ["p50", "p99"]) number(name, rush?.[name], (value) => `${Math.round(value)} ms`);
  setData(find("#rush"), { lost: rush?.lost ? "some" : rush?.lost === 0 ? "none" : "unknown" });
}

function orderButton(order_id) {
  return make(
    "button", { type: "button", class: "link", title: order_id, on: { click: () => openOrder(order_id) } },
    short(order_id),
  );
}

// --- breaking ---

// An alarm's name ends in its heading in the runbook.
const section = (alarm) => alarm.split("-").pop();

function runbookButton(name) {
  const element = button(t("page.runbook"), { runbook: name }, () => openRunbook(name));
  element.setAttribute("aria-label", t("page.runbook.of", { section: name }));
  return element;
}

function alarmText(alarm) {
  if (!alarm) return t("page.alarm.none");
  const { name, threshold, periods, period_seconds } = alarm;
  const comparison = COMPARISONS[alarm.comparison] ?? alarm.comparison;
  const values = { name: section(name), comparison, threshold: grouped.format(threshold) };
  if (!period_seconds) return t("page.alarm", values);
  return t("page.alarm.lasting", { ...values, minutes: grouped.format((periods * period_seconds) / 60) });
}

function renderBreakages(view, may) {
  setText(find("#break-hint"), t(view.can_break ? "page.break.hint" : "page.break.not_here"));
  list(
    find("#breakages"), view.breakages, ({ name }) => name, makeBreakage,
    (row, { remaining, lasts }) => {
      const broken = remaining > 0;
      const toggle = find("[data-toggle]", row);
      setData(row, { broken });
      if (lasts) toggle.setAttribute("aria-checked", broken);
      enable(toggle, may.breaks);
      countDown(find(".countdown", row), broken ? view.at + remaining * 1000 : null, "page.broken.heals");
    },
  );
}

function makeBreakage({ name, lasts, alarm }) {
  const title = t(`page.breakage.${name}`);
  const click = (event) => {
    const broken = event.currentTarget.getAttribute("aria-checked") === "true";
    const path = `/${broken ? "heal" : "break"}/${name}`;
    act(event.currentTarget, "break", () => said(path, lasts ? "" : "page.break.sent"));
  };
  const toggle = button(lasts ? "" : t("page.break.send"), { toggle: name }, click);
  toggle.setAttribute("aria-label", title);
  if (lasts) toggle.setAttribute("role", "switch");
  const described = alarm ? [make("p", { class: "alarm-text", lang: "en" }, alarm.description)] : [];
  return make(
    "li", { data: { breakage: name } },
    make("div", { class: "head" }, make("h3", {}, title), make("span", { class: "countdown" }), toggle),
    make("p", {}, t(`page.breakage.${name}.expect`)),
    make("p", {}, t("page.customers", { notice: t(`page.breakage.${name}.notice`) })),
    make("div", { class: "alarm" }, make("span", {}, alarmText(alarm)),
      runbookButton(alarm ? section(alarm.name) : WITHOUT_ALARM)),
    ...described,
  );
}

async function openRunbook(name) {
  setText(find("#runbook-title"), t("page.runbook.of", { section: name }));
  const text = find("#runbook-text");
  text.replaceChildren();
  find("#runbook").showModal();
  try {
    text.append(...paragraphs(await request(`/runbook/${encodeURIComponent(name)}`)));
  } catch (error) {
    text.append(t("page.failed", { reason: error.message }));
  }
}

// Split Markdown into paragraphs, and into code and tables, whose lines stay as they are.
function paragraphs(markdown) {
  return markdown.split(/(^ *```[^]*?^ *```$)|\n\n+/m).filter((part) => part?.trim()).map((part) => {
    const lines = part.trim();
    if (lines.startsWith("```")) return make("pre", {}, lines.replace(/^```.*\n|\n? *```$/g, ""));
    if (lines.startsWith("|")) return make("pre", {}, lines);
    if (lines.startsWith("## ")) return make("h3", {}, lines.slice(3));
    return make("p", {}, lines.replace(/\n(?! *(\d+\.|-) )\s*/g, " "));
  });
}

// --- stories ---

function renderStories(view, may) {
  find("#no-stories").hidden = view.stories.length > 0;
  list(find("#story-cards"), view.stories, ({ name }) => name, makeStory, (card, story) => {
    const lines = story.said.filter(({ key }) => !/\.(title|expectation)$/.test(key));
    const seconds = story.seconds?.toFixed(1);
    setData(card, { state: story.state });
    setText(find(".state", card), t(`page.story.${story.state}`, { seconds }));
    enable(find("[data-run]", card), may.breaks && !view.busy);
    list(
      find("ol", card), lines.map((line, index) => ({ ...line, index })), ({ index, key }) => `${index} ${key}`,
      ({ key }) => make("li", { data: { said: key } }),
      (row, { key, values }) => setText(row, t(key, values)),
    );
    setText(find(".reason", card), story.reason ?? "");
    if (story.name === "the_original") renderLosses(lines);
  });
}

function makeStory({ name }) {
  const title = t(`${name}.title`);
  const run = button(t("page.story.run"), { run: name }, (event) => {
    act(event.currentTarget, "stories", () => said(`/story/${name}`, ""));
  });
  run.setAttribute("aria-label", `${t("page.story.run")}: ${title}`);
  const loss = (who) => make(
    "div", {}, make("dt", {}, t(`page.lost.${who}`)),
    make("dd", { data: { number: { original: "lost_by_the_original", ours: "lost_by_ours" }[who] } }),
  );
  const losses = name === "the_original" ? [make("dl", { class: "losses" }, loss("original"), loss("ours"))] : [];
  return make(
    "li", { data: { story: name } },
    make("div", { class: "head" }, make("h3", {}, title), make("span", { class: "state" }), run),
    make("p", {}, t(`${name}.expectation`)),
    ...losses,
    make("ol", { "aria-live": "polite" }),
    make("p", { class: "reason" }),
  );
}

function renderLosses(lines) {
  const lost = (key) => lines.findLast((line) => line.key === key)?.values.lost;
  number("lost_by_the_original", lost("the_original.original"));
  number("lost_by_ours", lost("the_original.ours"));
}

// --- the stock ---

let chart = null;
let marks = [];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const MARKS = {
  purchase: { colour: "accent", symbol: "●" },
  out_of_stock: { colour: "amber", symbol: "◆" },
  arrival: { colour: "green", symbol: "▲" },
  broken: { colour: "red", symbol: "▼" },
  healed: { colour: "green", symbol: "✚" },
};

function renderStock(view) {
  const samples = view.samples[chosen()?.slug] ?? [];
  const stocks = samples.map((sample) => sample.stock);
  const times = samples.map((sample) => sample.at / 1000);
  marks = view.marks;
  list(
    find("#marks"), Object.keys(MARKS), (kind) => kind,
    (kind) => make(
      "li", { data: { mark: kind } }, make("span", { class: "symbol", "aria-hidden": "true" }, MARKS[kind].symbol),
      t(`page.mark.${kind}`), " ", make("b"),
    ),
    (row, kind) => {
      const count = marks.filter((mark) => mark.kind === kind).length;
      setData(row, { count });
      setText(find("b", row), grouped.format(count));
    },
  );
  if (!samples.length) {
    setText(find("#stock-at"), t("page.stock.none"));
    return;
  }
  const values = {
    stock: stocks.at(-1), least: Math.min(...stocks), most: Math.max(...stocks),
    seconds: Math.round(times.at(-1) - times[0]),
  };
  find("#chart").setAttribute("aria-label", t("page.stock.chart", values));
  chart ??= makeChart();
  chart.setData([times, stocks]);
  if (chart.cursor.idx === null) showSample(samples.length - 1);
}

function showSample(index) {
  const [times, stocks] = chart.data;
  if (stocks[index] !== undefined) setText(find("#stock-at"), `${clock(times[index] * 1000)} · ${stocks[index]}`);
}

function makeChart() {
  const place = find("#chart");
  const axis = { stroke: () => colour("muted"), grid: { stroke: () => colour("line"), width: 1 }, ticks: { show: false } };
  return new uPlot(
    {
      width: place.clientWidth,
      height: place.clientHeight,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      padding: [18, 12, 0, 0],
      scales: {
        x: { range: (u, least, most) => [Math.min(least, most - 60), most] },
        y: { range: (u, least, most) => [Math.min(0, least), Math.max(5, most * 1.1)] },
      },
      axes: [
        { ...axis, space: 80, values: (u, splits) => splits.map((at) => clock(at * 1000)) },
        { ...axis, size: 48, values: (u, splits) => splits.map((it) => (Number.isInteger(it) ? grouped.format(it) : "")) },
      ],
      series: [
        {},
        {
          stroke: () => colour("accent"), fill: () => colour("accent-tint"), width: 2,
          paths: uPlot.paths.stepped({ align: 1 }), points: { show: false },
        },
      ],
      hooks: {
        draw: [drawMarks],
        setCursor: [(u) => showSample(u.cursor.idx ?? u.data[0].length - 1)],
      },
    },
    [[], []],
    place,
  );
}

function drawMarks(u) {
  const { ctx, bbox } = u;
  const scale = devicePixelRatio;
  ctx.save();
  ctx.textAlign = "center";
  ctx.font = `${11 * scale}px system-ui, sans-serif`;
  for (const { at, kind } of marks) {
    const x = u.valToPos(at / 1000, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    const { colour: name, symbol } = MARKS[kind];
    const lasting = kind === "broken" || kind === "healed";
    ctx.strokeStyle = ctx.fillStyle = colour(name);
    if (lasting) {
      ctx.setLineDash([4 * scale, 3 * scale]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    const height = { purchase: 4, out_of_stock: 4, arrival: 16 }[kind];
    ctx.fillText(symbol, x, lasting ? bbox.top - 4 * scale : bbox.top + bbox.height - height * scale);
  }
  ctx.restore();
}

function resizeChart() {
  const { clientWidth: width, clientHeight: height } = find("#chart");
  if (chart && width) chart.setSize({ width, height });
}

// --- the books ---

function renderChecks(view) {
  list(
    find("#checks"), view.checks, ({ name }) => name,
    ({ name }) => make(
      "li", { data: { check: name } },
      make("span", { class: "sign", role: "img" }),
      make("div", {}, make("strong", {}, t(`page.check.${name}`)), make("ul", { class: "books" }), make("ul", { class: "violations" })),
      make("span", { class: "checked" }),
    ),
    (row, { name, holds, checked_at, violations }) => {
      const verdict = violations.length ? "false" : holds === null ? "unknown" : String(holds);
      const sign = find(".sign", row);
      setData(row, { holds: verdict });
      setText(sign, { true: "✓", false: "✗", unknown: "–" }[verdict]);
      sign.setAttribute("aria-label", t(`page.check.${verdict}`));
      setText(find(".checked", row), checked_at ? t("page.check.at", { time: clock(checked_at) }) : t("page.check.unknown"));
      renderBooks(find(".books", row), name, view, violations);
      list(
        find(".violations", row), violations, (violation) => JSON.stringify(violation),
        ({ at, ...fields }) => make(
          "li", { data: { violation: name } }, at ? make("time", {}, clock(at)) : "", " ",
          Object.entries(fields).map(([field, value]) => `${field}=${shown(value)}`).join(" "),
        ),
      );
    },
  );
}

function renderBooks(element, name, view, violations) {
  const lines = {
    balance: () => view.books.map((book) => [book.slug, t("page.books.line", book)]),
    not_negative: () => view.products.map(({ slug, stock }) => [slug, `${slug}: ${stock} ${stock < 0 ? "<" : "≥"} 0`]),
  }[name] ?? (() => [["", t("page.check.violations", { count: violations.length })]]);
  list(
    element, lines(), ([slug]) => slug,
    ([slug]) => make("li", name === "balance" ? { data: { book: slug } } : {}),
    (row, [, text]) => setText(row, text),
  );
}

// --- orders ---

function renderOrders(view) {
  find("#no-orders").hidden = view.orders.length > 0;
  const took = (order) => (order.arrived_at ?? view.at) - order.requested_at;
  const longest = Math.max(5000, ...view.orders.map(took));
  list(
    find("#orders"), view.orders, ({ order_id }) => order_id,
    ({ order_id, quantity }) => {
      const cells = [
        make("code", {}, short(order_id)), make("span", {}, t("page.orders.quantity", { quantity })),
        make("span", { class: "place" }), make("span", { class: "bar", "aria-hidden": "true" }), make("span", { class: "took" }),
      ];
      const data = { order: order_id };
      return make("li", {}, make("button", { type: "button", data, on: { click: () => openOrder(order_id) } }, ...cells));
    },
    (row, order) => {
      const line = row.firstElementChild;
      setData(line, { at: order.place });
      const tries = order.place === "queue" && order.receives ? ` ${order.receives}/${order.max_receives ?? "?"}` : "";
      setText(find(".place", line), placeOf(order) + tries);
      setText(find(".took", line), inSeconds(took(order)));
      renderBar(find(".bar", line), order, view.at, longest);
    },
  );
}

// Show an order's hops as a bar, whose whole width stands for the longest order.
function renderBar(bar, order, at, longest) {
  const end = order.arrived_at ?? at;
  const parts = [{ phase: "outbox", from: order.requested_at }];
  for (const hop of order.hops) {
    const phase = PHASES[hop.what];
    if (phase && phase !== parts.at(-1).phase && hop.at < end) parts.push({ phase, from: hop.at });
  }
  const failures = order.hops.filter((hop) => hop.what === "not placed");
  const percent = (milliseconds) => `${((100 * Math.max(0, milliseconds)) / longest).toFixed(2)}%`;
  const pieces = [
    ...parts.map(({ phase, from }, index) => ({ phase, from, to: parts[index + 1]?.from ?? end })),
    ...failures.map((hop) => ({ phase: "failure", from: hop.at, to: hop.at })),
  ];
  list(bar, pieces, ({ phase, from }) => `${phase} ${from}`, ({ phase }) => make("i", { class: phase }), (piece, { from, to }) => {
    piece.style.left = percent(from - order.requested_at);
    piece.style.width = percent(to - from);
  });
}

async function openOrder(order_id) {
  state.order = order_id;
  state.openOrder = "";
  setText(find("#order-title"), t("page.order", { id: order_id }));
  setText(find("#order-summary"), "");
  for (const element of ["#hops", "#order-log"]) find(element).replaceChildren();
  if (!find("#order").open) find("#order").showModal();
  renderOpenOrder(state.view);
}

// Read the open order again whenever the view reports something new of it.
async function renderOpenOrder(view) {
  const order_id = state.order;
  const lines = view.log.filter((entry) => entry.order_id === order_id);
  renderLines(find("#order-log"), lines.toReversed());
  const { retry_at, ...reported } = view.orders.find((order) => order.order_id === order_id) ?? {};
  const version = JSON.stringify([reported, lines.length]);
  if (state.openOrder === version) return;
  state.openOrder = version;
  try {
    const order = JSON.parse(await request(`/order/${encodeURIComponent(order_id)}`));
    if (state.order === order_id) renderTimeline(order);
    setText(find("#order-problem"), "");
  } catch (error) {
    setText(find("#order-problem"), t("page.failed", { reason: error.message }));
  }
}

function renderTimeline(order) {
  const { slug, quantity, status } = order;
  setText(find("#order-summary"), t("page.order.summary", { slug: slug ?? "?", quantity, status, place: placeOf(order) }));
  list(
    find("#hops"), order.hops, ({ at, source, what, fields }) => [at, source, what, JSON.stringify(fields)].join(" "),
    ({ at, source, what, fields }) => make(
      "li", { data: { hop: what } },
      make("time", {}, exactClock(at)),
      make("span", { class: "since" }, `+${inSeconds(at - order.requested_at)}`),
      make("strong", {}, HOPS.includes(what) ? t(`page.hop.${what.replace(" ", "_")}`) : what),
      make("code", {}, source),
      make("span", { class: "hop-fields" }, ...Object.entries(fields).map(([name, value]) => make(
        "span", {}, make("i", {}, FIELDS.includes(name) ? t(`page.field.${name}`) : name), ` ${shown(value)}`,
      ))),
    ),
  );
}

// --- the log ---

function filterLog(order, since, level) {
  find("#log-order").value = order;
  find("#log-since").value = since;
  find("#log-level").value = level;
  renderLog(state.view);
}

function renderLog(view) {
  if (!view) return;
  const since = Number(find("#log-since").value);
  const least = LEVELS.indexOf(find("#log-level").value);
  const order = find("#log-order").value.trim().toLowerCase();
  const lines = view.log.filter((entry) => (
    (!since || entry.at >= view.at - since * 1000)
    && LEVELS.indexOf(entry.level) >= least
    && (!order || entry.order_id?.toLowerCase().startsWith(order))
  ));
  setText(find("#log-count"), t("page.log.count", { shown: lines.length, all: view.log.length }));
  find("#no-log").hidden = lines.length > 0;
  renderLines(find("#log"), lines);
}

function renderLines(element, lines) {
  list(
    element, lines, ({ at, source, message, order_id, text }) => [at, source, message, order_id, text].join(" "),
    ({ at, source, level, message, order_id, text }) => make(
      "li", { data: { log: level, orderId: order_id ?? "" } },
      make("time", {}, exactClock(at)), make("code", {}, source), make("b", {}, level === "INFO" ? "" : level),
      make("strong", {}, message),
      order_id ? button(short(order_id), { filter: order_id }, () => filterLog(order_id, "0", "")) : "",
      make("span", { class: "text" }, text),
    ),
  );
}

// --- the connection ---

function connect() {
  const events = new EventSource("/events");
  events.addEventListener("view", (event) => {
    const view = JSON.parse(event.data);
    state.connection = "live";
    state.offset = Date.now() - view.at;
    renderConnection();
    render(view);
  });
  events.addEventListener("error", () => {
    state.connection = "lost";
    renderConnection();
    render(state.view);
    if (events.readyState !== EventSource.CLOSED) return; // The browser itself connects again.
    setTimeout(connect, RECONNECT_MILLISECONDS);
  });
}

async function start() {
  state.texts = JSON.parse(await request("/texts.json"))[LANGUAGE];
  document.documentElement.lang = LANGUAGE;
  document.title = t("page.title");
  for (const element of findAll("[data-text]")) setText(element, t(element.dataset.text));
  for (const element of findAll("[data-label]")) element.setAttribute("aria-label", t(element.dataset.label));
  for (const element of findAll("[data-title]")) element.title = t(element.dataset.title);
  for (const element of findAll("[data-placeholder]")) element.placeholder = t(element.dataset.placeholder);
  for (const link of findAll(".languages a")) {
    if (link.lang === LANGUAGE) link.setAttribute("aria-current", "true");
  }
  nameButtons();
  listen();
  renderConnection();
  connect();
  setInterval(tick, 250);
}

start();
