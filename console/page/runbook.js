// Sections of docs/runbook.md.

import { button, find, make, request, setText, t } from "./elements.js";

// An alarm's name ends in its heading in the runbook.
export const section = (alarm) => alarm.split("-").pop();

export function runbookButton(name) {
  const element = button(t("page.runbook"), { runbook: name }, () => openRunbook(name));
  element.setAttribute("aria-label", t("page.runbook.of", { section: name }));
  return element;
}

async function openRunbook(name) {
  setText(find("#runbook-title"), t("page.runbook.of", { section: name }));
  const text = find("#runbook-text");
  text.replaceChildren();
  find("#runbook").showModal();
  try {
    text.append(...blocks(await request(`/runbook/${encodeURIComponent(name)}`)));
  } catch (error) {
    text.append(t("page.failed", { reason: error.message }));
  }
}

// Show Markdown as far as the runbook uses it: paragraphs, tables, code, and code within a line.
function blocks(markdown) {
  const [, ...parts] = markdown.split(/(^ *```[^]*?^ *```$)|\n\n+/m).filter((part) => part?.trim());
  return parts.map((part) => {
    const lines = part.split("\n").map((line) => line.trim());
    if (lines[0].startsWith("```")) return make("pre", {}, lines.slice(1, -1).join("\n"));
    if (lines[0].startsWith("|")) return make("table", {}, ...rows(lines));
    return make("p", {}, ...withCode(lines.join("\n").replace(/\n(?!- |\d+\. )/g, " ")));
  });
}

function rows(lines) {
  const cells = (line) => line.split("|").slice(1, -1);
  return lines
    .filter((line) => !/^[|-]+$/.test(line))
    .map((line) =>
      make("tr", {}, ...cells(line).map((cell) => make("td", {}, ...withCode(cell.trim())))),
    );
}

export function withCode(text) {
  return text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
}
