// The pipeline, from a checkout to an arrival, with a dot for each order.

import {
  act,
  action,
  button,
  byNumber,
  chosen,
  command,
  countDown,
  enable,
  find,
  findAll,
  grouped,
  list,
  make,
  number,
  outcomeOf,
  setData,
  setText,
  short,
  t,
} from "./elements.js";
import { openOrder, placeOf } from "./orders.js";

const STAGES = [1, 2, 3, 4, 5];
const PITCHES = [22, 18, 14, 10, 7]; // Pixels from one dot to the next.
const SHOWN_ARRIVALS = 8; // Dots of orders that have arrived, the newest ones.

export function renderPipeline(view, may) {
  const { requested, oldest_requested_seconds, queue, dead_letters, stuck, stages, arrived } =
    view.pipeline;
  const [last] = view.checkouts;
  const outcome = last ? outcomeOf(last) : "none";
  setText(find("#last-checkout"), last ? String(last.status || "–") : "");
  setData(find("#last-checkout"), { outcome });
  const message = last && (last.body.message ?? t("page.counter.no_response"));
  setText(find("#last-checkout-note"), message || t("page.checkout.none"));
  number("requested", requested);
  const oldest = oldest_requested_seconds
    ? t("page.outbox.oldest", { seconds: oldest_requested_seconds })
    : "";
  setText(find("#oldest"), requested ? oldest : "");
  number("visible", queue?.visible);
  number("in_flight", queue?.in_flight, (count) => t("page.queue.in_flight", { count }));
  const tried = view.orders.filter(
    (order) => order.place === "queue" || order.place === "consumer",
  );
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
  for (const name of ["heal_all", "relay"]) action(name).hidden = !view.can_break;
  enable(action("heal_all"), may.breaks);
  enable(action("relay"), may.breaks);
  enable(action("redrive"), may.buy);
}

function renderBroken(view, may) {
  const broken = view.breakages.filter((breakage) => breakage.remaining > 0);
  for (const station of findAll("[data-part]")) {
    const ends = broken
      .filter(({ part }) => part === station.dataset.part)
      .map(({ remaining }) => view.at + remaining * 1000);
    setData(station, { broken: ends.length > 0 });
    countDown(find(".badge", station), ends.length ? Math.max(...ends) : null, "page.broken.badge");
  }
  find("#nothing-broken").hidden = broken.length > 0 || !view.can_break;
  list(
    find("#broken-now"),
    broken,
    (breakage) => breakage.name,
    ({ name }) =>
      make(
        "li",
        { data: { brokenNow: name } },
        make("strong", {}, t(`page.breakage.${name}`)),
        make("span", {}, t("page.customers", { notice: t(`page.breakage.${name}.notice`) })),
        make("span", { class: "countdown", "aria-live": "off" }),
        button(t("page.heal"), { heal: name }, (event) => {
          act(event.currentTarget, "pipeline", () => command(`/heal/${name}`, ""));
        }),
      ),
    (row, { remaining }) => {
      countDown(find(".countdown", row), view.at + remaining * 1000, "page.broken.heals");
      enable(find("button", row), may.breaks);
    },
  );
}

function area({ place, stage }) {
  const part =
    place === "factory" ? `[data-stage-area="${stage ?? 0}"]` : `[data-place="${place}"]`;
  return find(`${part} .dots`);
}

function renderDots(view) {
  const arrived = view.orders.filter((order) => order.place === "arrived").slice(0, SHOWN_ARRIVALS);
  const orders = [...view.orders.filter((order) => order.place !== "arrived"), ...arrived];
  // Always in the same order: an element that is moved within the document loses its transition.
  orders.sort((a, b) => a.requested_at - b.requested_at || (a.order_id < b.order_id ? -1 : 1));
  list(
    find("#dots"),
    orders,
    (order) => order.order_id,
    ({ order_id }) =>
      make("div", { data: { dot: order_id }, on: { click: () => openOrder(order_id) } }),
    (dot, order) => {
      const { order_id, place, quantity, stage, retry_at } = order;
      setData(dot, {
        at: place,
        stage: stage ?? "",
        waits: place === "queue" && Boolean(retry_at),
      });
      dot.title = t("page.dot", { id: short(order_id), quantity, place: placeOf(order) });
      dot.area = area(order);
    },
  );
  placeDots();
}

// Put each dot into its part of the pipeline. It travels there, except to its first place.
function placeDots() {
  const layer = find("#dots");
  const groups = new Map();
  for (const dot of layer.children) groups.set(dot.area, [...(groups.get(dot.area) ?? []), dot]);
  for (const [within, dots] of groups) spread(dots, within.getBoundingClientRect());
  layer.getBoundingClientRect(); // The browser takes note of the first places.
  for (const dot of layer.children) if (dot.style.transform) setData(dot, { placed: true });
}

// Put the dots to where their parts are now. Nothing travels, because nothing was reported.
export function placeDotsAgain() {
  for (const dot of find("#dots").children) delete dot.dataset.placed;
  placeDots();
}

// Spread dots over a box: the more of them, the smaller. Those that do not fit lie on the last one.
function spread(dots, box) {
  if (!box.width) return; // It is hidden.
  const origin = find("#pipeline").getBoundingClientRect();
  const across = (size) => Math.max(1, Math.floor(box.width / size));
  const fitting = (size) => across(size) * Math.max(1, Math.floor(box.height / size));
  const pitch = PITCHES.find((size) => fitting(size) >= dots.length) ?? PITCHES.at(-1);
  const columns = Math.min(across(pitch), dots.length);
  const shown = Math.min(fitting(pitch), dots.length);
  const left = box.left - origin.left + (box.width - columns * pitch) / 2;
  const top = box.top - origin.top + (box.height - Math.ceil(shown / columns) * pitch) / 2;
  dots.forEach((dot, index) => {
    const slot = Math.min(index, shown - 1);
    const x = left + ((slot % columns) + 0.5) * pitch;
    const y = top + (Math.floor(slot / columns) + 0.5) * pitch;
    const scale = pitch / PITCHES[0];
    dot.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px) scale(${scale})`;
  });
}
