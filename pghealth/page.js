// Replaces what is shown every five seconds. Says so when the service no longer answers, because
// the last state must not look like the present one.
(() => {
  let answered = new Date();
  const refresh = async () => {
    if (document.hidden) return;
    const lost = document.getElementById("lost");
    try {
      const response = await fetch(location.origin + location.pathname + location.search, {
        headers: {Accept: "text/html"}, cache: "no-store", signal: AbortSignal.timeout(4500),
      });
      const next = new DOMParser().parseFromString(await response.text(), "text/html");
      const main = next.querySelector("main");
      if (!main) throw new Error("not the page");
      document.querySelector("main").replaceWith(main);
      document.querySelector("link[rel=icon]").replaceWith(next.querySelector("link[rel=icon]"));
      document.title = next.title;
      answered = new Date();
      lost.hidden = true;
    } catch {
      lost.querySelector("span").textContent = answered.toLocaleTimeString();
      document.title = "✕ no answer";
      lost.hidden = false;
    }
  };
  setInterval(refresh, 5000);
  document.addEventListener("visibilitychange", refresh);
})();
