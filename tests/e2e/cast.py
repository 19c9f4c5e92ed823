"""Fills the data of a server that is running: people, ventures, agents with keys. Prints what the tests need as JSON.

Run as a process of its own with the server's DATA_DIR, so that the tests themselves hold no Django.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mission_control.settings")

PASSWORD = "correct horse battery"


def main() -> None:
    import django

    django.setup()
    from agents import keys, roster
    from mission_control.actors import person
    from mission_control.models import User
    from ventures import catalogue

    for name, role in (("olivia", "admin"), ("oscar", "operator"), ("victor", "viewer")):
        user = User(username=name, role=role)
        user.set_password(PASSWORD)
        user.save()
    olivia = person(User.objects.get(username="olivia"))
    for name, icon in (("Shoe store", "👟"), ("Field notes", "🌿")):
        catalogue.create(olivia, name=name, icon=icon)
    secrets = {}
    for name in ("ada", "grace"):
        agent = roster.create(olivia, name=name, provider="custom", model="a model", capabilities=["copy"])
        secrets[name] = keys.create(olivia, agent, scopes=("work",))[1]
    otto = roster.create(olivia, name="otto", provider="custom", connection="local")
    secrets["otto"] = keys.create(olivia, otto, scopes=("work", "orchestrate"))[1]
    evil = roster.create(olivia, name="<img src=x onerror=alert(1)>", slug="evil", role="<script>alert(2)</script>")
    secrets["evil"] = keys.create(olivia, evil)[1]
    pending, _, token = roster.register(name="Newcomer <b>", description="I wrote <script>alert(3)</script> this.")
    print(json.dumps({"keys": secrets, "claim": f"/claim/{token}", "pending": pending.slug}))


if __name__ == "__main__":
    main()
