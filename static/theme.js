// Before the first paint: the theme that was chosen in this browser. The settings page changes it.
(function () {
  var chosen = null;
  try {
    chosen = localStorage.getItem("porthole-theme");
  } catch (e) {
    // Storage is forbidden here: the system's theme it is.
  }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.setAttribute("data-theme", chosen);
  }
})();
