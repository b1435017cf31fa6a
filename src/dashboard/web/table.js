// The table of every list: columns, selection, keyboard, and cards instead of columns on a phone.
//
// <Table label columns rows rowKey rowHref onOpen selection onSelect empty/>
//   columns    [{name, label, render(row), align: 'right', class, sortBy}]; a column without a label has a hidden one in "title";
//              head stands in the head instead of the label
//   rowKey     (row) → text, by default row.id ?? row.name
//   rowHref    (row) → address that enter, and a click outside of buttons, opens
//   selection  Set of keys, with onSelect(Set): a column of check boxes. With shift, all rows from the last one that was chosen
//   rowClass   (row) → a class of the row
// Keyboard: j and k move between rows, x selects (X: as with shift), enter opens. The rows take the focus, so a screen reader follows.

import { html, useRef } from './lib.js';
import { shortcutsOn } from './keys.js';

const keyOf = (row) => String(row.id ?? row.name);

export function Table({ label, columns, rows, rowKey = keyOf, rowHref, rowClass, onOpen, selection, onSelect, empty, class: extra = '' }) {
	const body = useRef(null);
	const anchor = useRef(null);
	if (!rows?.length) return empty ?? null;
	const selectable = Boolean(selection && onSelect);
	const keys = rows.map(rowKey);
	const toggle = (key, range) => {
		const next = new Set(selection);
		const from = range ? keys.indexOf(anchor.current) : -1;
		const to = keys.indexOf(key);
		const chosen = from < 0 ? [key] : keys.slice(Math.min(from, to), Math.max(from, to) + 1);
		const on = !selection.has(key);
		for (const k of chosen) if (on) next.add(k); else next.delete(k);
		anchor.current = key;
		onSelect(next);
	};
	const all = selectable && keys.every((key) => selection.has(key));
	const open = (row) => {
		if (onOpen) onOpen(row);
		else if (rowHref) body.current.querySelector(`[data-row="${CSS.escape(rowKey(row))}"] a[href]`)?.click();
	};
	const onKeyDown = (event, row) => {
		if (event.target.closest('input, select, textarea, button, a') && event.key !== 'j' && event.key !== 'k') return;
		const element = event.currentTarget;
		if (event.key === 'Enter' && (onOpen || rowHref)) open(row);
		else if (event.key === 'ArrowDown') element.nextElementSibling?.focus();
		else if (event.key === 'ArrowUp') element.previousElementSibling?.focus();
		else if ((event.key === 'x' || event.key === 'X') && selectable && shortcutsOn()) toggle(rowKey(row), event.key === 'X');
		else return;
		event.preventDefault();
		event.stopPropagation();
	};
	const onClick = (event, row) => {
		if (!(onOpen || rowHref) || event.target.closest('a, button, input, label, summary, select') || String(getSelection())) return;
		open(row);
	};
	return html`<div class="table-box"><table class=${`table ${extra} ${onOpen || rowHref ? 'opens' : ''}`} aria-label=${label} role="table" data-table>
		<thead role="rowgroup"><tr role="row">
			${selectable && html`<th role="columnheader" class="check"><input type="checkbox" aria-label="Select all rows" checked=${all}
				onChange=${() => onSelect(all ? new Set() : new Set(keys))} /></th>`}
			${columns.map((c) => html`<th role="columnheader" scope="col" key=${c.name} class=${`${c.align ?? ''} ${c.class ?? ''}`}>
				${c.head ?? c.label ?? html`<span class="visually-hidden">${c.title ?? c.name}</span>`}</th>`)}
		</tr></thead>
		<tbody role="rowgroup" ref=${body}>${rows.map((row, i) => html`<tr role="row" key=${keys[i]} data-row=${keys[i]} tabindex="0"
			class=${`${selection?.has(keys[i]) ? 'selected' : ''} ${rowClass?.(row) ?? ''}`} aria-selected=${null}
			onKeyDown=${(event) => onKeyDown(event, row)} onClick=${(event) => onClick(event, row)}>
			${selectable && html`<td role="cell" class="check"><input type="checkbox" aria-label=${`Select ${keys[i]}`} checked=${selection.has(keys[i])}
				onClick=${(event) => toggle(keys[i], event.shiftKey)} /></td>`}
			${columns.map((c) => html`<td role="cell" key=${c.name} class=${`${c.align ?? ''} ${c.class ?? ''}`} data-label=${c.label ?? ''}>${c.render ? c.render(row) : row[c.name]}</td>`)}
		</tr>`)}</tbody></table></div>`;
}
