// The sign-in page: a PostgreSQL role and its password. The program tries them; the page learns only whether it worked.

import { html, useState } from '../lib.js';
import { signIn } from '../api.js';
import { ErrorBox, Field } from '../ui.js';

export default function SignIn({ onSignedIn }) {
	const [user, setUser] = useState('');
	const [password, setPassword] = useState('');
	const [error, setError] = useState(null);
	const [busy, setBusy] = useState(false);
	const onSubmit = async (event) => {
		event.preventDefault();
		setBusy(true);
		setError(null);
		try {
			onSignedIn(await signIn(user, password));
		} catch (e) {
			setError(e);
			setPassword('');
			setBusy(false);
		}
	};
	return html`<main class="sign-in"><form class="card" onSubmit=${onSubmit}>
		<img src=${new URL('../icon.svg', import.meta.url).pathname} width="40" height="40" alt="" />
		<h1>Sign in</h1><p class="muted">With a role of this PostgreSQL server. You see and do what that role may.</p>
		<${Field} label="Role" value=${user} onInput=${setUser} name="user" autocomplete="username" required autofocus />
		<${Field} label="Password" type="password" value=${password} onInput=${setPassword} name="password" autocomplete="current-password" required />
		${error && html`<${ErrorBox} error=${error} />`}
		<button class="button primary wide" disabled=${busy}>${busy ? 'Signing in…' : 'Sign in'}</button></form></main>`;
}
