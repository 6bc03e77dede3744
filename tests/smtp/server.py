"""A real mail server (aiosmtpd) that treats a mail as its recipient's local part says:

    later…   451 the first time, then taken        never…   550, quoting the recipient
    slow…    an answer after ten seconds           drop…    hangs up in the middle
    others   taken

Prints its port, then one line of JSON per mail taken. Ends when its standard input does.
"""

import argparse
import asyncio
import base64
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--tls", choices=["none", "starttls", "implicit"], default="none")
parser.add_argument("--certificate")
parser.add_argument("--key")
parser.add_argument("--user")
parser.add_argument("--password")
options = parser.parse_args()

seen = set()


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        local = address.split("@")[0]
        if local.startswith("later") and address not in seen:
            seen.add(address)
            return f"451 4.7.1 <{address}>: greylisted"
        if local.startswith("never"):
            return f"550 5.1.1 <{address}>: no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 fine"

    async def handle_DATA(self, server, session, envelope):
        local = envelope.rcpt_tos[0].split("@")[0]
        if local.startswith("drop"):
            server.transport.abort()
            return "421 4.4.2 gone"
        if local.startswith("slow"):
            await asyncio.sleep(10)
        taken = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos[0],
            "message": base64.b64encode(envelope.content).decode(),
            "tls": server.transport.get_extra_info("sslcontext") is not None,
            "authenticated": bool(session.authenticated),
        }
        print(json.dumps(taken), flush=True)
        return "250 2.0.0 taken"


def authenticate(server, session, envelope, mechanism, data):
    right = (
        isinstance(data, LoginPassword)
        and data.login == options.user.encode()
        and data.password == options.password.encode()
    )
    return AuthResult(success=right, handled=right)


async def main():
    context = None
    if options.tls != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate, options.key)

    def connection():
        return SMTP(
            Handler(),
            hostname="mail.test",
            enable_SMTPUTF8=True,
            tls_context=context if options.tls == "starttls" else None,
            require_starttls=options.tls == "starttls",
            authenticator=authenticate if options.user else None,
            auth_required=bool(options.user),
            auth_require_tls=options.tls == "starttls",
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        connection,
        "127.0.0.1",
        options.port,
        ssl=context if options.tls == "implicit" else None,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    # Whoever started it is gone when its end of the pipe is.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
