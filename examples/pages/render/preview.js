{{define "preview.js"}}
const path = decodeURI(location.pathname.replace(/^\/preview\/?/, '/'));
const state = document.getElementById('state');
let asked = 0;

// Replaces the content; the document, its scroll position and this script stay.
async function show() {
  const mine = ++asked;
  const answer = await fetch(path, { headers: { Accept: 'text/html; fragment=main' }, cache: 'no-store' });
  const html = answer.ok ? await answer.text() : '<main data-revision="0"><p>Nothing is online here.</p></main>';
  if (mine === asked) document.querySelector('main').outerHTML = html;
}

const events = new EventSource('/events?path=' + encodeURIComponent(path));
// Also after a connection that was lost: what happened meanwhile is not told again.
events.onopen = () => { state.textContent = 'following'; show(); };
events.onerror = () => { state.textContent = 'connecting again'; };
events.addEventListener('changed', show);
{{end}}
