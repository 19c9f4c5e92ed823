/* What must stand on <html> before the first paint: theme and collapsed columns. A plain script on purpose: modules
   run too late. */
(function () {
  var root = document.documentElement;
  try {
    var theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    root.dataset.collapsed = localStorage.getItem("collapsed") || "";
  } catch (error) {
    root.dataset.collapsed = "";
  }
})();
