// A provider of identities: the real oidc-provider, asked as Google is or, with GitHub's own paths, as GitHub is. Its arguments:
// where npm has put it, `google` or `github`, and the callback of its one client. The first line of its output is its address.
// Whoever types NAME is NAME@example.com; `unverified-NAME` is that without a proof, `NAME+2` another account with that address.

import http from 'node:http';

const [folder, flavour, callback] = process.argv.slice(2);
const { default: Provider } = await import(`${folder}/node_modules/oidc-provider/lib/index.js`);

let answer;
const server = http.createServer((request, response) => answer(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  answer = provider(issuer).callback();
  console.log(issuer);
});

const email = (id) => `${id.replace(/^unverified-/, '').replace(/\+.*/, '')}@example.com`;
const isVerified = (id) => !id.startsWith('unverified-');

function provider(issuer) {
  const made = new Provider(issuer, {
    clients: [{
      client_id: 'autostack',
      client_secret: 'a secret of forty characters, more or less',
      redirect_uris: [callback],
      grant_types: ['authorization_code'],
      token_endpoint_auth_method: 'client_secret_post',
    }],
    pkce: { required: () => true },
    scopes: ['openid', 'email', 'profile', 'read:user', 'user:email'],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    cookies: { keys: ['only for tests'] },
    routes: flavour === 'github'
      ? { authorization: '/login/oauth/authorize', token: '/login/oauth/access_token' }
      : {},
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, name: id, email: email(id), email_verified: isVerified(id) }),
    }),
  });
  made.use(async (ctx, next) => {
    if (flavour !== 'github' || !ctx.path.startsWith('/user')) return next();
    const token = await made.AccessToken.find((ctx.get('authorization') || '').replace(/^Bearer /, ''));
    if (!token) return ctx.throw(401);
    const id = token.accountId;
    const number = [...id].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7) % 1e9;
    ctx.body = ctx.path === '/user'
      ? { id: number, login: id, email: null }
      : [{ email: `old-${email(id)}`, primary: false, verified: true },
        { email: email(id), primary: true, verified: isVerified(id) }];
  });
  return made;
}
