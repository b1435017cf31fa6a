// The theme: light, dark, or as the system has it. It is the attribute data-theme of <html>, and kept in this browser.

const SETTING = 'bgjob.theme';
const ORDER = ['system', 'light', 'dark'];

export const theme = () => (ORDER.includes(localStorage.getItem(SETTING)) ? localStorage.getItem(SETTING) : 'system');

export function applyTheme() {
	const chosen = theme();
	if (chosen === 'system') delete document.documentElement.dataset.theme;
	else document.documentElement.dataset.theme = chosen;
	document.dispatchEvent(new CustomEvent('bgjob:theme'));
}

// nextTheme turns to the next of the three, and returns its name.
export function nextTheme() {
	localStorage.setItem(SETTING, ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length]);
	applyTheme();
	return theme();
}

// isDark tells which of the two is shown.
export const isDark = () => theme() === 'dark' || theme() === 'system' && matchMedia('(prefers-color-scheme: dark)').matches;

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => document.dispatchEvent(new CustomEvent('bgjob:theme')));
