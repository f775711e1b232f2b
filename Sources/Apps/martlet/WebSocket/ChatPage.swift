/// The page of the chat: one document without anything from elsewhere, so that it works without a network beyond the server.
///
/// All that others say and are called goes into the document as text, never as markup. It speaks `martlet.chat` (see `Chat`).
enum ChatPage {
    /// What the page may do: nothing but its own style and script, and connections to where it came from.
    static let policy =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self' ws: wss:; img-src data:; base-uri 'none'; "
        + "form-action 'none'; frame-ancestors 'none'"

    static let html = head + style + body + script + "</body>\n</html>\n"

    private static let head = #"""
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover, interactive-widget=resizes-content">
        <meta name="color-scheme" content="light dark">
        <title>Chat</title>
        <link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%232b6cb0' d='M2 3h12v8H7l-3 3v-3H2z'/%3E%3C/svg%3E">

        """#

    private static let style = #"""
        <style>
        :root { --back: #f4f5f7; --card: #fff; --text: #16191d; --dim: #636b75; --line: #d9dde3; --own: #dbeafe; --accent: #1d5fbf; --warn: #a3380c; }
        @media (prefers-color-scheme: dark) {
          :root { --back: #111418; --card: #1b2027; --text: #e6e9ed; --dim: #97a1ac; --line: #2e353e; --own: #1d3556; --accent: #6ea8fe; --warn: #f4a261; }
        }
        * { box-sizing: border-box; }
        html, body { height: 100%; margin: 0; }
        body { display: flex; flex-direction: column; height: 100dvh; max-width: 46rem; margin: 0 auto; background: var(--back); color: var(--text);
          font: 16px/1.45 system-ui, sans-serif; padding: env(safe-area-inset-top) env(safe-area-inset-right) env(safe-area-inset-bottom) env(safe-area-inset-left); }
        header { display: flex; gap: .75rem; align-items: baseline; padding: .6rem 1rem; border-bottom: 1px solid var(--line); }
        header h1 { font-size: 1.05rem; margin: 0; }
        #state { color: var(--dim); font-size: .85rem; }
        #state.bad { color: var(--warn); }
        #people { color: var(--dim); font-size: .85rem; padding: .35rem 1rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; max-height: 4.5em; overflow-y: auto; }
        #messages { flex: 1; overflow-y: auto; list-style: none; margin: 0; padding: .75rem 1rem; display: flex; flex-direction: column; gap: .4rem; }
        #messages li { max-width: 85%; align-self: flex-start; background: var(--card); border: 1px solid var(--line); border-radius: .8rem; padding: .35rem .7rem; }
        #messages li.own { align-self: flex-end; background: var(--own); }
        #messages li.note { align-self: center; background: none; border: 0; color: var(--dim); font-size: .85rem; padding: 0; }
        .name { font-size: .8rem; font-weight: 600; color: var(--accent); margin-right: .5rem; overflow-wrap: anywhere; }
        time { font-size: .72rem; color: var(--dim); }
        .text { white-space: pre-wrap; overflow-wrap: anywhere; }
        form { display: flex; gap: .5rem; padding: .6rem 1rem; border-top: 1px solid var(--line); background: var(--card); }
        input { flex: 1; min-width: 0; font: inherit; color: inherit; background: var(--back); border: 1px solid var(--line); border-radius: .6rem; padding: .55rem .7rem; }
        button { font: inherit; font-weight: 600; color: #fff; background: #1d5fbf; border: 0; border-radius: .6rem; padding: .55rem 1rem; min-width: 4.5rem; }
        button:disabled { opacity: .5; }
        :focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
        dialog { color: var(--text); background: var(--card); border: 1px solid var(--line); border-radius: .8rem; width: min(22rem, calc(100vw - 2rem)); }
        dialog form { padding: 0; border: 0; flex-direction: column; }
        dialog::backdrop { background: rgb(0 0 0 / .45); }
        @media (prefers-reduced-motion: no-preference) { #messages { scroll-behavior: smooth; } }
        </style>
        </head>

        """#

    private static let body = #"""
        <body>
        <header><h1>Chat</h1><span id="state" role="status" aria-live="polite">connecting…</span></header>
        <div id="people"></div>
        <ul id="messages" role="log" aria-live="polite" aria-label="messages"></ul>
        <form id="say"><input id="text" autocomplete="off" enterkeyhint="send" maxlength="4000" placeholder="Message" aria-label="message"><button id="send" disabled>Send</button></form>
        <dialog id="who"><form id="join" method="dialog"><label for="name">What are you called?</label><input id="name" autocomplete="nickname" maxlength="40" required>
        <button>Join</button></form></dialog>

        """#

    private static let script = #"""
        <script>
        "use strict";
        const $ = (id) => document.getElementById(id);
        const messages = $("messages"), state = $("state"), send = $("send"), text = $("text"), who = $("who");
        const store = { get(key) { try { return sessionStorage.getItem(key); } catch { return null; } }, set(key, value) { try { sessionStorage.setItem(key, value); } catch {} } };
        const session = store.get("session") ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
        store.set("session", session);
        // The server says something at least every 15 s: after 40 s without, nobody is there.
        const silenceMax = 40_000, waitMin = 500, waitMax = 15_000, shownMax = 1_000;
        let name = new URLSearchParams(location.search).get("name") ?? store.get("name"), socket, lastID = null, seen = new Set(), lastHeard = 0, failures = 0, timer, people = [], guests = 0, unread = 0;

        function note(words) { add("note", words); }
        function add(kind, words, by, at) {
          const near = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 80;
          const item = document.createElement("li");
          item.className = kind;
          if (by !== undefined) {
            const label = document.createElement("span"), time = document.createElement("time"), date = new Date(at);
            label.className = "name";
            label.textContent = by;
            time.dateTime = date.toISOString();
            time.textContent = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
            item.append(label, time);
          }
          const body = document.createElement("div");
          body.className = "text";
          body.textContent = words;
          item.append(body);
          messages.append(item);
          while (messages.childElementCount > shownMax) messages.firstElementChild.remove();
          if (near || kind === "own") messages.scrollTop = messages.scrollHeight;
          if (document.hidden && by !== undefined && kind !== "own") { unread += 1; document.title = `(${unread}) Chat`; }
        }
        function show(words, isBad) { state.textContent = words; state.className = isBad ? "bad" : ""; }
        function showPeople() {
          const others = guests ? [`${guests} by other programs`] : [];
          $("people").textContent = people.concat(others).join(", ");
        }
        function said(message) {
          if (seen.has(message.id)) return;
          seen.add(message.id);
          if (seen.size > shownMax) seen.delete(seen.values().next().value);
          lastID = Math.max(lastID, message.id);
          add(message.name === name ? "own" : "said", message.text, message.name, message.at);
        }
        const heard = {
          welcome(message) {
            failures = 0;
            name = message.name;
            store.set("name", name);
            ({ people, guests } = message);
            message.messages.forEach(said);
            if (lastID === null) lastID = 0;
            show(`connected as ${name}`);
            send.disabled = false;
            showPeople();
          },
          said,
          joined(message) { if (!people.includes(message.name)) { people.push(message.name); people.sort(); } if (message.name !== name) note(`${message.name} joined`); showPeople(); },
          left(message) { people = people.filter((other) => other !== message.name); note(`${message.name} left`); showPeople(); },
          guests(message) { guests = message.count; showPeople(); },
          ping() {},
          error(message) { note(message.text); },
        };
        function connect() {
          clearTimeout(timer);
          show("connecting…");
          socket = new WebSocket(location.href.replace(/^http/, "ws").replace(/[?#].*$/, ""), "martlet.chat");
          const own = socket;
          lastHeard = Date.now();
          own.onopen = () => own.send(JSON.stringify(lastID === null ? { type: "join", name, session } : { type: "join", name, session, after: lastID }));
          own.onmessage = (event) => {
            lastHeard = Date.now();
            const message = JSON.parse(event.data);
            if (Object.hasOwn(heard, message.type)) heard[message.type](message);
          };
          own.onclose = () => { if (own === socket) again(); };
        }
        function again() {
          send.disabled = true;
          const wait = Math.min(waitMin * 2 ** failures, waitMax) * (0.5 + Math.random() / 2);
          failures += 1;
          show(`not connected; again in ${Math.max(1, Math.round(wait / 1000))} s`, true);
          clearTimeout(timer);
          timer = setTimeout(connect, wait);
        }
        // Closing a dead connection may take long: the next one does not wait for it.
        function drop() { const old = socket; socket = undefined; old?.close(); again(); }
        setInterval(() => { if (socket?.readyState === WebSocket.OPEN && Date.now() - lastHeard > silenceMax) drop(); }, 5_000);
        addEventListener("online", () => { failures = 0; if (name && socket?.readyState !== WebSocket.OPEN) connect(); });
        addEventListener("offline", () => { if (socket) drop(); });
        document.addEventListener("visibilitychange", () => { if (!document.hidden) { unread = 0; document.title = "Chat"; } });
        $("say").onsubmit = (event) => {
          event.preventDefault();
          if (text.value.trim() === "" || socket?.readyState !== WebSocket.OPEN || send.disabled) return;
          socket.send(JSON.stringify({ type: "say", text: text.value }));
          text.value = "";
          text.focus();
        };
        who.oncancel = (event) => event.preventDefault();
        $("join").onsubmit = () => { name = $("name").value.trim(); store.set("name", name); connect(); text.focus(); };
        if (name) connect(); else { show("who is there?"); who.showModal(); }
        </script>

        """#
}
