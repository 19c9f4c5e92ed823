"""The fleet's one row and the watermarks of the chores."""

from django.db import migrations


def make(apps, schema_editor):
    apps.get_model("mission_control", "Fleet").objects.get_or_create(pk=1)
    for name in ("counted", "sealed", "swept"):
        apps.get_model("mission_control", "Watermark").objects.get_or_create(pk=name)


class Migration(migrations.Migration):
    dependencies = [("mission_control", "0001_initial")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
