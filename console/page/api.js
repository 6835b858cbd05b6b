// Renders docs/openapi.yaml, to read. Nothing can be called from here.
"use strict";

const nothing = () => () => null;

document.documentElement.classList.toggle(
  "dark-mode",
  matchMedia("(prefers-color-scheme: dark)").matches,
);
SwaggerUIBundle({
  url: "/openapi.yaml",
  dom_id: "#swagger",
  supportedSubmitMethods: [],
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
  plugins: [() => ({ wrapComponents: { authorizeBtn: nothing, authorizeOperationBtn: nothing } })],
});
