"use strict";
// Overlays: one set of radios for all views, one slider per view.
(function () {
  const section = document.getElementById("overlays");
  const value = (name) => section.querySelector(`input[name="` + name + `"]:checked`).value;
  const refresh = () => {
    const marks = document.getElementById("marks").checked ? " with-marks" : "";
    section.className = "show-" + value("olevel") + " " + value("compare") + marks;
  };
  section.addEventListener("change", refresh);
  for (const figure of section.querySelectorAll("figure")) {
    const slider = figure.querySelector("input[type=range]");
    const picture = figure.querySelector(".compare");
    const set = () => {
      picture.style.setProperty("--p", 100 - slider.value + "%");
      picture.style.setProperty("--o", slider.value / 100);
    };
    slider.addEventListener("input", set);
    const drag = (event) => {
      if (event.buttons !== 1) return;
      const box = picture.getBoundingClientRect();
      slider.value = 100 - (100 * (event.clientX - box.left)) / box.width;
      set();
    };
    picture.addEventListener("pointerdown", drag);
    picture.addEventListener("pointermove", drag);
    picture.addEventListener("dragstart", (event) => event.preventDefault());
    set();
  }
  refresh();
})();
