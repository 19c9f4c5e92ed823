"""The venture where a task without one goes."""

from django.db import migrations


def make(apps, schema_editor):
    apps.get_model("ventures", "Venture").objects.get_or_create(slug="default", defaults={"name": "Default", "icon": "🛰️"})


class Migration(migrations.Migration):
    dependencies = [("ventures", "0001_initial")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
