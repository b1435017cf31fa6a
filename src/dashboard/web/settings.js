// What a viewer has chosen, kept in this browser. A browser that keeps nothing gets the defaults.

export function setting(name, otherwise = null) {
	try { return localStorage.getItem(`bgjob.${name}`) ?? otherwise; } catch { return otherwise; }
}

export function setSetting(name, value) {
	try { localStorage.setItem(`bgjob.${name}`, value); } catch { /* it holds until the tab is closed, or not even so long */ }
}
