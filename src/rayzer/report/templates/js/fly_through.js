// Tells the camera plot where on its path the video is; stops the video for those who prefer reduced motion.

for (const video of document.querySelectorAll("[data-fly-through]")) {
  let request = 0;
  const announce = () => {
    const detail = video.duration ? video.currentTime / video.duration : 0;
    document.dispatchEvent(new CustomEvent("rayzer:fly-through", { detail }));
  };
  const follow = () => {
    cancelAnimationFrame(request);
    announce();
    if (!video.paused) request = requestAnimationFrame(follow);
  };
  for (const type of ["play", "seeked"]) video.addEventListener(type, follow);
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
    video.autoplay = false;
    video.pause();
  } else {
    follow();
  }
}
