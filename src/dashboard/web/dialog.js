// Dialogs, toasts and the buttons that act on the server.
//
// <Dialog title onClose>          a modal <dialog>: the browser keeps the focus in it and Escape closes it
// <ActionButton action params …>  asks with the statement that it would run; "Copy as SQL" copies that
// toast(text, {kind, sql})        says in a live region what has happened
// <Toasts/>                       stands once, in the shell

import { html, useEffect, useRef, useState } from './lib.js';
import { act, previewSql, readOnly } from './api.js';
import { Icon } from './icons.js';
import { Code, ErrorBox } from './ui.js';

export function Dialog({ title, onClose, children, wide }) {
	const ref = useRef(null);
	useEffect(() => {
		const before = document.activeElement;
		const dialog = ref.current;
		dialog.showModal();
		if (!dialog.querySelector('[autofocus]')) dialog.querySelector('input, select, textarea')?.focus();
		// Nothing outside of a modal dialog takes the focus, so it is closed first.
		return () => { dialog.close(); if (before?.isConnected) before.focus?.(); };
	}, []);
	return html`<dialog class=${`dialog${wide ? ' wide' : ''}`} ref=${ref} aria-labelledby="dialog-title"
		onCancel=${(event) => { event.preventDefault(); onClose(); }} onMouseDown=${(event) => event.target === ref.current && onClose()}>
		<div class="dialog-body">
			<header><h2 id="dialog-title">${title}</h2>
				<button type="button" class="button ghost square" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></header>
			${children}
		</div></dialog>`;
}

let toasts = [];
let nextToast = 1;
let drawToasts = null;

export function toast(text, { kind = 'ok', sql = null } = {}) {
	const id = nextToast++;
	toasts = [...toasts.slice(-3), { id, text, kind, sql }];
	drawToasts?.(toasts);
	setTimeout(() => { toasts = toasts.filter((t) => t.id !== id); drawToasts?.(toasts); }, kind === 'error' ? 12000 : 5000);
}

export function Toasts() {
	const [list, set] = useState(toasts);
	useEffect(() => { drawToasts = set; return () => { drawToasts = null; }; }, []);
	return html`<div class="toasts" role="status" aria-live="polite">
		${list.map((t) => html`<div key=${t.id} class=${`toast ${t.kind}`}><${Icon} name=${t.kind === 'error' ? 'warning' : 'check'} />
			<span>${t.text}</span>${t.sql && html`<${CopyButton} text=${t.sql} label="Copy SQL" />`}</div>`)}</div>`;
}

// copy puts text on the clipboard; without a secure context, by way of a selection.
export async function copy(text) {
	try {
		await navigator.clipboard.writeText(text);
	} catch {
		const area = document.createElement('textarea');
		area.value = text;
		(document.querySelector('dialog[open]') ?? document.body).append(area);
		area.select();
		document.execCommand('copy');
		area.remove();
	}
}

export function CopyButton({ text, label = 'Copy', class: extra = 'ghost small' }) {
	const [done, set] = useState(false);
	useEffect(() => {
		if (!done) return undefined;
		const timer = setTimeout(() => set(false), 1500);
		return () => clearTimeout(timer);
	}, [done]);
	return html`<button type="button" class=${`button ${extra}`} onClick=${async () => { await copy(text); set(true); }}>
		<${Icon} name=${done ? 'check' : 'copy'} /> ${done ? 'Copied' : label}</button>`;
}

// ActionDialog asks before an action runs. children may be a form; then params are what it gives, and disabled says that they
// are not complete. onDone gets the action's result.
export function ActionDialog({ action, params, title, label = 'Run', danger, confirm, done, disabled, wide, children, onClose, onDone }) {
	const [sql, setSql] = useState(null);
	const [error, setError] = useState(null);
	const [busy, setBusy] = useState(false);
	const key = JSON.stringify([action, params]);
	useEffect(() => {
		let gone = false;
		const timer = setTimeout(() => previewSql(action, params).then((text) => gone || setSql(text), (e) => gone || setError(e)), children ? 250 : 0);
		return () => { gone = true; clearTimeout(timer); };
	}, [key]);
	const run = async (event) => {
		event.preventDefault();
		setBusy(true);
		setError(null);
		try {
			const answer = await act(action, params);
			if (answer.result === false) toast('Nothing was changed: it is not any more as this page has shown it', { kind: 'error', sql: answer.sql });
			else toast(done ?? `${title ?? label}: done`, { sql: answer.sql });
			onClose();
			onDone?.(answer.result);
		} catch (e) {
			setError(e);
			setBusy(false);
		}
	};
	return html`<${Dialog} title=${title ?? label} wide=${wide} onClose=${onClose}><form onSubmit=${run}>
		${confirm && html`<p class="confirm">${confirm}</p>`}
		${children}
		<div class="sql"><div class="sql-head"><span>Runs as your role</span>${sql && html`<${CopyButton} text=${sql} label="Copy as SQL" />`}</div>
			<${Code} text=${sql ?? '…'} language="sql" /></div>
		${error && html`<${ErrorBox} error=${error} />`}
		<footer><button type="button" class="button" autofocus=${danger} onClick=${onClose}>Cancel</button>
			<button class=${`button ${danger ? 'danger' : 'primary'}`} autofocus=${!danger && !children} disabled=${busy || disabled}>${busy ? 'Running…' : label}</button></footer>
	</form></${Dialog}>`;
}

export function ActionButton({ icon, label, small, quiet, class: extra = '', hideLabel, disabled, ...dialog }) {
	const [open, set] = useState(false);
	if (readOnly()) return null;
	return html`<button type="button" class=${`button ${quiet ? 'ghost' : ''} ${small ? 'small' : ''} ${dialog.danger ? 'warn' : ''} ${hideLabel ? 'square' : ''} ${extra}`}
			aria-label=${hideLabel ? label : null} title=${hideLabel ? label : null} disabled=${disabled} aria-haspopup="dialog" onClick=${() => set(true)}>
			${icon && html`<${Icon} name=${icon} />`}${!hideLabel && html` <span>${label}</span>`}</button>
		${open && html`<${ActionDialog} label=${label} ...${dialog} onClose=${() => set(false)} />`}`;
}
