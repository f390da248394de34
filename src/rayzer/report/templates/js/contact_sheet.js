// A photo of the contact sheet points out its camera in the plot.

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-select-camera]");
  if (!button) return;
  const detail = Number(button.dataset.selectCamera);
  document.dispatchEvent(new CustomEvent("rayzer:select-camera", { detail }));
});
