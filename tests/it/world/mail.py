"""A mail server that takes everything and tells of it: the first line of its output is its port, each other line a mail."""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

WANTED = json.loads(sys.argv[1])


class Tell:
    async def handle_DATA(self, server, session, envelope):
        text = envelope.content.decode()
        print(json.dumps({"to": envelope.rcpt_tos, "from": envelope.mail_from, "tls": session.ssl is not None,
                          "text": text}), flush=True)
        return "250 taken"


def check(server, session, envelope, mechanism, data):
    fits = (data.login.decode(), data.password.decode()) == (WANTED["name"], WANTED["password"])
    return AuthResult(success=fits, handled=False)


async def main():
    options = {}
    if WANTED.get("certificate"):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(WANTED["certificate"], WANTED["key"])
        options = {"tls_context": context, "require_starttls": True, "authenticator": check, "auth_required": True}
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Tell(), enable_SMTPUTF8=True, **options), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
