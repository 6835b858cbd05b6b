// Gives the browser a language that Intl accepts, before uPlot asks for it.
//
// With LANG=C.UTF-8, some browsers have the language `en-US@posix`, which Intl rejects.

try {
  new Intl.NumberFormat(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en-US" });
}
