// The production orders, the timeline of one of them, and the log.

import {
  button,
  exactClock,
  find,
  inSeconds,
  list,
  make,
  request,
  setData,
  setText,
  short,
  shown,
  state,
  t,
} from "./elements.js";

const PHASES = {
  requested: "outbox",
  published: "queue",
  queued: "queue",
  "not placed": "queue",
  received: "factory",
  placed: "factory",
  stage: "factory",
  "called back": "callback",
};
const HOPS = [
  "checkout",
  "requested",
  "published",
  "left to the relay",
  "not published",
  "queued",
  "received",
  "placed",
  "not placed",
  "stage",
  "called back",
  "callback rejected",
  "restock",
  "arrived",
  "stuck",
];
const FIELDS = ["receives", "reason", "stage", "quantity", "stock", "publications", "status"];
const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

export function placeOf({ place, stage }) {
  const text = t(`page.place.${place}`);
  return place === "factory" && stage ? `${text} (${t("page.factory.stage", { stage })})` : text;
}

export function orderButton(order_id) {
  return make(
    "button",
    {
      type: "button",
      class: "link",
      title: order_id,
      on: { click: () => openOrder(order_id) },
    },
    short(order_id),
  );
}

export function renderOrders(view) {
  find("#no-orders").hidden = view.orders.length > 0;
  const took = (order) => (order.arrived_at ?? view.at) - order.requested_at;
  const longest = Math.max(5000, ...view.orders.map(took));
  list(
    find("#orders"),
    view.orders,
    ({ order_id }) => order_id,
    ({ order_id, quantity }) => {
      const cells = [
        make("code", {}, short(order_id)),
        make("span", {}, t("page.orders.quantity", { quantity })),
        make("span", { class: "place" }),
        make("span", { class: "bar", "aria-hidden": "true" }),
        make("span", { class: "took" }),
      ];
      const data = { order: order_id };
      return make(
        "li",
        {},
        make(
          "button",
          { type: "button", data, on: { click: () => openOrder(order_id) } },
          ...cells,
        ),
      );
    },
    (row, order) => {
      const line = row.firstElementChild;
      setData(line, { at: order.place });
      const tries =
        order.place === "queue" && order.receives
          ? ` ${order.receives}/${order.max_receives ?? "?"}`
          : "";
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
    ...parts.map(({ phase, from }, index) => ({
      phase,
      from,
      to: parts[index + 1]?.from ?? end,
    })),
    ...failures.map((hop) => ({ phase: "failure", from: hop.at, to: hop.at })),
  ];
  list(
    bar,
    pieces,
    ({ phase, from }) => `${phase} ${from}`,
    ({ phase }) => make("i", { class: phase }),
    (piece, { from, to }) => {
      piece.style.left = percent(from - order.requested_at);
      piece.style.width = percent(to - from);
    },
  );
}

export async function openOrder(order_id) {
  state.order = order_id;
  state.openOrder = "";
  setText(find("#order-title"), t("page.order", { id: order_id }));
  setText(find("#order-summary"), "");
  for (const element of ["#hops", "#order-log"]) find(element).replaceChildren();
  if (!find("#order").open) find("#order").showModal();
  renderOpenOrder(state.view);
}

// Read the open order again whenever the view reports something new of it.
export async function renderOpenOrder(view) {
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
  setText(
    find("#order-summary"),
    t("page.order.summary", { slug: slug ?? "?", quantity, status, place: placeOf(order) }),
  );
  list(
    find("#hops"),
    order.hops,
    ({ at, source, what, fields }) => [at, source, what, JSON.stringify(fields)].join(" "),
    ({ at, source, what, fields }) =>
      make(
        "li",
        { data: { hop: what } },
        make("time", {}, exactClock(at)),
        make("span", { class: "since" }, `+${inSeconds(at - order.requested_at)}`),
        make("strong", {}, HOPS.includes(what) ? t(`page.hop.${what.replaceAll(" ", "_")}`) : what),
        make("code", {}, source),
        make(
          "span",
          { class: "hop-fields" },
          ...Object.entries(fields).map(([name, value]) =>
            make(
              "span",
              {},
              make("i", {}, FIELDS.includes(name) ? t(`page.field.${name}`) : name),
              ` ${shown(value)}`,
            ),
          ),
        ),
      ),
  );
}

// --- the log ---

export function filterLog(order, since, level) {
  find("#log-order").value = order;
  find("#log-since").value = since;
  find("#log-level").value = level;
  renderLog(state.view);
}

export function renderLog(view) {
  if (!view) return;
  const since = Number(find("#log-since").value);
  const least = LEVELS.indexOf(find("#log-level").value);
  const order = find("#log-order").value.trim().toLowerCase();
  const lines = view.log.filter(
    (entry) =>
      (!since || entry.at >= view.at - since * 1000) &&
      LEVELS.indexOf(entry.level) >= least &&
      (!order || entry.order_id?.toLowerCase().startsWith(order)),
  );
  setText(find("#log-count"), t("page.log.count", { shown: lines.length, all: view.log.length }));
  find("#no-log").hidden = lines.length > 0;
  renderLines(find("#log"), lines);
}

function renderLines(element, lines) {
  list(
    element,
    lines,
    ({ at, source, message, order_id, text }) => [at, source, message, order_id, text].join(" "),
    ({ at, source, level, message, order_id, text }) =>
      make(
        "li",
        { data: { log: level, orderId: order_id ?? "" } },
        make("time", {}, exactClock(at)),
        make("code", {}, source),
        make("b", {}, level === "INFO" ? "" : level),
        make("strong", {}, message),
        order_id
          ? button(short(order_id), { filter: order_id }, () => filterLog(order_id, "0", ""))
          : "",
        make("span", { class: "text" }, text.replace(`order_id=${order_id}`, "").trim()),
      ),
  );
}
