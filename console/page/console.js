// Shows what the console's server reports, and sends what the visitor does.
//
// The server sends the whole View (console/view.py) whenever it changes, and render() shows it.
// Nothing moves by a timer: a timer only counts down to a time that was reported. All texts come
// from console/texts.py, and get into the page as text, never as HTML.

import {
  act,
  action,
  agrees,
  button,
  chosen,
  DEFAULT_PRODUCT,
  clock,
  command,
  countDown,
  enable,
  find,
  findAll,
  grouped,
  LANGUAGE,
  list,
  make,
  number,
  outcomeOf,
  post,
  request,
  setData,
  setText,
  short,
  shown,
  state,
  t,
  tick,
} from "./elements.js";
import { filterLog, orderButton, renderLog, renderOpenOrder, renderOrders } from "./orders.js";
import { placeDotsAgain, renderPipeline } from "./pipeline.js";
import { runbookButton, section, withCode } from "./runbook.js";
import { renderStock, resizeChart, redrawChart } from "./stock.js";

const RECONNECT_MILLISECONDS = 1000;
// Without an event, not even one of the heartbeats that are sent every 10 seconds (server.py).
const SILENCE_MILLISECONDS = 25000;
const COMPARISONS = {
  GreaterThanOrEqualToThreshold: "≥",
  GreaterThanThreshold: ">",
  LessThanThreshold: "<",
  LessThanOrEqualToThreshold: "≤",
};
const UNSAID = /\.title$|\.expectation$|^the_original\.counted$/; // The card shows these elsewhere.
const WITHOUT_ALARM = "Find out what happened to one order"; // The runbook's section.

// --- what the visitor does ---

function responseText({ status, milliseconds, body }) {
  const message = status ? (body.message ?? body.error ?? "") : t("page.counter.no_response");
  return [status || "–", `${Math.round(milliseconds)} ms`, message].join(" · ");
}

async function send(purchase) {
  if (!(await agrees("page.ask.buy", { quantity: purchase.quantity }))) return { text: "" };
  if (purchase.key) state.keyed = purchase;
  const checkout = await post("/buy", purchase);
  const outcome = outcomeOf(checkout);
  return { text: responseText(checkout), failed: outcome === "failed", outcome };
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
  if (!(await agrees("page.ask.rush", { quantity: buyers }))) return { text: "" };
  await post("/rush", { buyers, at_once });
  return { text: t("page.rush.started") };
}

async function redrive() {
  if (!(await agrees("page.ask.redrive"))) return { text: "" };
  return { text: t("page.redrive.done", await post("/redrive")) };
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
    return command("/stocktake", "page.counter.stocktake.done", { count }, { quantity: count });
  });
  onSubmit("#rush-form", "rush", "rush", rush);
  onClick("heal_all", "pipeline", () => command("/heal", "page.heal_all.done"));
  onClick("relay", "pipeline", () => command("/relay", "page.relay.done"));
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
  new ResizeObserver(placeDotsAgain).observe(find("#pipeline"));
  new ResizeObserver(resizeChart).observe(find("#chart"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawChart);
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
  action("buy_one").hidden = quantity === "1"; // The other button says the same.
  setText(
    action("stocktake"),
    t("page.counter.stocktake", { quantity: find("#count").value || "?" }),
  );
}

// --- what the server reports ---

// Each part is shown by itself: one that throws does not take the others along. The notices come
// last, because they say which parts have failed.
const PARTS = {
  top: renderTop,
  pipeline: renderPipeline,
  counter: renderCounter,
  breakages: renderBreakages,
  stories: renderStories,
  stock: renderStock,
  checks: renderChecks,
  orders: renderOrders,
  log: renderLog,
  order: (view) => state.order && renderOpenOrder(view),
  notices: renderNotices,
};

function render(view) {
  if (!view) return;
  state.view = view;
  const live = state.connection === "live";
  const told = view.stories.some((story) => story.name === view.busy);
  // A story assumes that nobody else uses the shop.
  const may = { buy: live && view.can_buy && !told, breaks: live && view.can_break && !told };
  for (const [name, show] of Object.entries(PARTS)) {
    try {
      show(view, may);
      state.failures.delete(name);
    } catch (error) {
      if (state.failures.get(name) !== error.message) console.error(name, error);
      state.failures.set(name, error.message);
    }
  }
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
  const account = find("#account");
  account.hidden = view.can_buy && !view.asks_before_buying;
  setText(account, t(view.can_buy ? "page.account.asks" : "page.account.looks", { environment }));
  const busyText = busy ? t("page.busy.story", { title: t(`${busy}.title`) }) : "";
  setText(find("#busy"), busy === "rush" ? t("page.busy.rush") : busyText);
  if (state.connection === "lost") add("lost", "bad", t("page.lost", { time: clock(view.at) }));
  for (const [part, reason] of state.failures) {
    if (part !== "notices") add(`failed-${part}`, "bad", t("page.part_failed", { part, reason }));
  }
  for (const [name, reason] of Object.entries(view.problems)) {
    const source = state.texts[`page.source.${name}`] ?? name;
    add(`problem-${name}`, "warn", t("page.problem", { source, reason }));
  }
  for (const { name, description, state: now } of view.alarms) {
    const text = t("page.fires", { name, description: described({ description }) });
    if (now === "ALARM") add(`alarm-${name}`, "bad", text, section(name));
  }
  for (const [name, count] of Object.entries(view.throttled ?? {})) {
    add(`throttled-${name}`, "warn", t("page.throttled", { name, count }));
  }
  const names = new Set(notices.map(({ name }) => name));
  for (const name of state.dismissed) if (!names.has(name)) state.dismissed.delete(name);
  list(
    find("#notices"),
    notices.filter(({ name }) => !state.dismissed.has(name)),
    (notice) => notice.name,
    (notice) => {
      const link = notice.section ? [runbookButton(notice.section)] : [];
      const dismiss = button("×", { dismiss: notice.name }, () => {
        state.dismissed.add(notice.name);
        renderNotices(state.view);
      });
      dismiss.setAttribute("aria-label", t("page.close"));
      return make("li", { data: { notice: notice.name } }, make("span"), ...link, dismiss);
    },
    (row, notice) => {
      setData(row, { kind: notice.kind });
      setText(row.firstElementChild, notice.text);
    },
  );
}

// --- the counter ---

function renderCounter(view, may) {
  const product = chosen();
  find("#product-choice").hidden = view.products.length < 2;
  find("#product-name").hidden = view.products.length > 1;
  find("#stocktake-form").hidden = !view.can_break;
  list(
    find("#product"),
    view.products,
    ({ slug }) => slug,
    ({ slug, name }) => make("option", { value: slug }, name ?? slug),
  );
  setText(find("#product-name"), product ? (product.name ?? product.slug) : "");
  number("price", product?.price, (price) =>
    t("page.counter.price", { price: grouped.format(price) }),
  );
  number("counter_stock", product?.stock);
  if (product) find("#quantity").max = product.max_quantity;
  nameButtons();
  const sold = product?.product_id || product?.slug === DEFAULT_PRODUCT;
  for (const name of ["buy_one", "buy"]) enable(action(name), may.buy && Boolean(sold));
  enable(action("again"), may.buy && state.keyed !== null);
  enable(action("stocktake"), may.breaks);
  enable(action("rush"), may.buy && !view.busy);
  renderRush(view);
  find("#no-responses").hidden = view.checkouts.length > 0;
  list(
    find("#responses"),
    view.checkouts,
    ({ at, key, milliseconds }) => `${at} ${key} ${milliseconds}`,
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

function renderRush({ rush, busy }) {
  const progress = find("#rush-progress");
  progress.max = rush?.buyers || 1;
  progress.value = rush ? rush.sold + rush.out_of_stock + rush.failed : 0;
  for (const name of ["sold", "out_of_stock", "failed", "lost"]) number(name, rush?.[name]);
  for (const name of ["p50", "p99"])
    number(name, rush?.[name], (value) => `${Math.round(value)} ms`);
  const lost = rush?.lost ?? "–";
  const result = rush && busy !== "rush" ? t("page.rush.done", { ...rush, lost }) : "";
  if (result && state.rushed !== result) setText(find('[data-result="rush"]'), result);
  state.rushed = result;
  setData(find("#rush"), { lost: rush?.lost ? "some" : rush?.lost === 0 ? "none" : "unknown" });
}

// --- breaking ---

// What follows in an alarm's description names the runbook's section, to which there is a button.
const described = ({ description }) => description.split(" Run: ")[0];

function alarmText(alarm) {
  if (!alarm) return t("page.alarm.none");
  const { name, threshold, periods, period_seconds } = alarm;
  const comparison = COMPARISONS[alarm.comparison] ?? alarm.comparison;
  const values = { name: section(name), comparison, threshold: grouped.format(threshold) };
  if (!period_seconds) return t("page.alarm", values);
  return t("page.alarm.lasting", {
    ...values,
    minutes: grouped.format((periods * period_seconds) / 60),
  });
}

function renderBreakages(view, may) {
  setText(find("#break-hint"), t(view.can_break ? "page.break.hint" : "page.break.not_here"));
  list(
    find("#breakages"),
    view.breakages,
    ({ name }) => name,
    makeBreakage,
    (row, { remaining, lasts, alarm }) => {
      const broken = remaining > 0;
      const toggle = find("[data-toggle]", row);
      setData(row, { broken });
      if (lasts) toggle.setAttribute("aria-checked", broken);
      enable(toggle, may.breaks);
      list(find(".alarms", row), [alarm], (it) => JSON.stringify(it), makeAlarm);
      countDown(
        find(".countdown", row),
        broken ? view.at + remaining * 1000 : null,
        "page.broken.heals",
      );
    },
  );
}

function makeBreakage({ name, lasts }) {
  const title = t(`page.breakage.${name}`);
  const click = (event) => {
    const broken = event.currentTarget.getAttribute("aria-checked") === "true";
    const path = `/${broken ? "heal" : "break"}/${name}`;
    act(event.currentTarget, "break", async () => happened(await post(path)));
  };
  const toggle = button(lasts ? "" : t("page.break.send"), { toggle: name }, click);
  toggle.setAttribute("aria-label", title);
  if (lasts) toggle.setAttribute("role", "switch");
  return make(
    "li",
    { data: { breakage: name } },
    make(
      "div",
      { class: "head" },
      make("h3", {}, title),
      make("span", { class: "countdown" }),
      toggle,
    ),
    make("p", {}, t(`page.breakage.${name}.expect`)),
    make("p", {}, t("page.customers", { notice: t(`page.breakage.${name}.notice`) })),
    make("div", { class: "alarms" }),
  );
}

function makeAlarm(alarm) {
  const description = alarm ? described(alarm) : "";
  return make(
    "div",
    { class: "alarm" },
    make("p", {}, alarmText(alarm), " ", make("span", { lang: "en" }, description)),
    runbookButton(alarm ? section(alarm.name) : WITHOUT_ALARM),
  );
}

// Return the shop's response to what happens once, such as a forged callback.
function happened({ status, body, message_id }) {
  if (status) return { text: `${status} · ${body?.message ?? ""}` };
  return { text: message_id ? t("page.break.sent", { id: message_id }) : "" };
}

// --- stories ---

function renderStories(view, may) {
  find("#no-stories").hidden = view.stories.length > 0;
  list(
    find("#story-cards"),
    view.stories,
    ({ name }) => name,
    makeStory,
    (card, story) => {
      const lines = story.said.filter(({ key }) => !UNSAID.test(key));
      const seconds = story.seconds?.toFixed(1);
      setData(card, { state: story.state });
      setText(find(".state", card), t(`page.story.${story.state}`, { seconds }));
      enable(find("[data-run]", card), may.breaks && !view.busy);
      list(
        find("ol", card),
        lines.map((line, index) => ({ ...line, index })),
        ({ index, key }) => `${index} ${key}`,
        ({ key }) => make("li", { data: { said: key } }),
        (row, { key, values }) => setText(row, t(key, values)),
      );
      setText(find(".reason", card), story.reason ?? "");
    },
  );
  const original = view.stories.find(({ name }) => name === "the_original");
  if (original) renderLosses(original.said);
}

function makeStory({ name }) {
  const title = t(`${name}.title`);
  const run = button(t("page.story.run"), { run: name }, (event) => {
    act(event.currentTarget, "stories", () => command(`/story/${name}`, ""));
  });
  run.setAttribute("aria-label", `${t("page.story.run")}: ${title}`);
  const loss = (who) =>
    make(
      "div",
      {},
      make("dt", {}, t(`page.lost.${who}`)),
      make("dd", {
        data: { number: { original: "lost_by_the_original", ours: "lost_by_ours" }[who] },
      }),
    );
  const losses =
    name === "the_original"
      ? [make("dl", { class: "losses" }, loss("original"), loss("ours"))]
      : [];
  return make(
    "li",
    { data: { story: name } },
    make("div", { class: "head" }, make("h3", {}, title), make("span", { class: "state" }), run),
    make("p", {}, ...withCode(t(`${name}.expectation`))),
    ...losses,
    make("ol", { "aria-live": "polite" }),
    make("p", { class: "reason" }),
  );
}

function renderLosses(said) {
  const lost = (...keys) => said.findLast(({ key }) => keys.includes(key))?.values.lost;
  number("lost_by_the_original", lost("the_original.counted", "the_original.original"));
  number("lost_by_ours", lost("the_original.ours"));
}

// --- the books ---

function renderChecks(view) {
  find("#no-checks").hidden = view.checks.length > 0;
  list(
    find("#checks"),
    view.checks,
    ({ name }) => name,
    ({ name }) =>
      make(
        "li",
        { data: { check: name } },
        make("span", { class: "sign", role: "img" }),
        make(
          "div",
          {},
          make("strong", {}, t(`page.check.${name}`)),
          make("ul", { class: "books" }),
          make("ul", { class: "violations", "aria-live": "polite" }),
        ),
        make("span", { class: "checked" }),
      ),
    (row, { name, holds, checked_at, violations }) => {
      const verdict = violations.length ? "false" : holds === null ? "unknown" : String(holds);
      const sign = find(".sign", row);
      setData(row, { holds: verdict });
      setText(sign, { true: "✓", false: "✗", unknown: "–" }[verdict]);
      sign.setAttribute("aria-label", t(`page.check.${verdict}`));
      setText(
        find(".checked", row),
        checked_at ? t("page.check.at", { time: clock(checked_at) }) : t("page.check.unknown"),
      );
      renderBooks(find(".books", row), name, view, violations);
      list(
        find(".violations", row),
        violations,
        (violation) => JSON.stringify(violation),
        ({ at, ...fields }) =>
          make(
            "li",
            { data: { violation: name } },
            at ? make("time", {}, clock(at)) : "",
            " ",
            Object.entries(fields)
              .map(([field, value]) => `${field}=${shown(value)}`)
              .join(" "),
          ),
      );
    },
  );
}

function renderBooks(element, name, view, violations) {
  const lines =
    {
      balance: () => view.books.map((book) => [book.slug, t("page.books.line", book)]),
      not_negative: () =>
        view.products.map(({ slug, stock }) => [
          slug,
          `${slug}: ${stock} ${stock < 0 ? "<" : "≥"} 0`,
        ]),
    }[name] ?? (() => [["", t("page.check.violations", { count: violations.length })]]);
  list(
    element,
    lines(),
    ([slug]) => slug,
    ([slug]) => make("li", name === "balance" ? { data: { book: slug } } : {}),
    (row, [, text]) => setText(row, text),
  );
}

// --- the connection ---

let events = null;
let silence = 0; // The timer that ends a connection without events.
let reconnection = 0;

function connect() {
  disconnect();
  events = new EventSource("/events");
  for (const name of ["open", "heartbeat"]) events.addEventListener(name, heard);
  events.addEventListener("view", (event) => {
    const view = JSON.parse(event.data);
    heard();
    state.connection = "live";
    state.offset = Math.min(state.offset, Date.now() - view.at);
    renderConnection();
    render(view);
  });
  events.addEventListener("error", () => {
    lose();
    if (events.readyState !== EventSource.CLOSED) return; // The browser itself connects again.
    reconnection = setTimeout(connect, RECONNECT_MILLISECONDS);
  });
  heard();
}

function disconnect() {
  events?.close();
  clearTimeout(silence);
  clearTimeout(reconnection);
}

function heard() {
  clearTimeout(silence);
  silence = setTimeout(() => {
    lose();
    connect();
  }, SILENCE_MILLISECONDS);
}

function lose() {
  state.connection = "lost";
  state.offset = Infinity;
  renderConnection();
  render(state.view);
}

// A browser has only six connections to a host, which all its tabs share.
function connectWhileVisible() {
  if (document.hidden) disconnect();
  else connect();
}

async function start() {
  state.texts = JSON.parse(await request("/texts.json"))[LANGUAGE];
  document.documentElement.lang = LANGUAGE;
  document.title = t("page.title");
  for (const element of findAll("[data-text]")) setText(element, t(element.dataset.text));
  for (const element of findAll("[data-label]"))
    element.setAttribute("aria-label", t(element.dataset.label));
  for (const element of findAll("[data-title]")) element.title = t(element.dataset.title);
  for (const element of findAll("[data-placeholder]"))
    element.placeholder = t(element.dataset.placeholder);
  for (const link of findAll(".languages a")) {
    if (link.lang === LANGUAGE) link.setAttribute("aria-current", "true");
  }
  nameButtons();
  listen();
  renderConnection();
  document.addEventListener("visibilitychange", connectWhileVisible);
  connectWhileVisible();
  setInterval(tick, 250);
}

state.render = render;
start();
