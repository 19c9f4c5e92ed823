import django.db.models.functions.datetime
from django.db import migrations, models


def begin(apps, schema_editor):
    """Nobody is told of what happened before there were notifications."""
    seq = apps.get_model("mission_control", "Fleet").objects.values_list("seq", flat=True).first() or 0
    apps.get_model("mission_control", "Watermark").objects.get_or_create(pk="told", defaults={"seq": seq})


class Migration(migrations.Migration):

    dependencies = [
        ('mission_control', '0004_webhooks'),
    ]

    operations = [
        migrations.CreateModel(
            name='Notification',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('recipient_type', models.CharField(max_length=8)),
                ('recipient', models.CharField(max_length=200)),
                ('seq', models.BigIntegerField()),
                ('reason', models.CharField(max_length=20)),
                ('kind', models.CharField(max_length=40)),
                ('level', models.CharField(default='info', max_length=8)),
                ('actor_type', models.CharField(max_length=8)),
                ('actor', models.CharField(max_length=200)),
                ('venture', models.CharField(blank=True, max_length=60)),
                ('task', models.CharField(blank=True, max_length=8)),
                ('title', models.CharField(blank=True, max_length=500)),
                ('message', models.CharField(blank=True, max_length=500)),
                ('at', models.DateTimeField()),
                ('read_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['recipient_type', 'recipient', 'id'], name='notification_listed'), models.Index(condition=models.Q(('read_at__isnull', True)), fields=['recipient_type', 'recipient'], name='notification_unread'), models.Index(fields=['at'], name='notification_at')],
                'constraints': [models.UniqueConstraint(fields=('recipient_type', 'recipient', 'seq'), name='notification_once'), models.CheckConstraint(condition=models.Q(('recipient_type__in', ['user', 'agent'])), name='notification_recipient')],
            },
        ),
        migrations.CreateModel(
            name='Watch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('task', models.CharField(max_length=8)),
                ('watcher_type', models.CharField(max_length=8)),
                ('watcher', models.CharField(max_length=200)),
                ('since', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name_plural': 'watches',
                'constraints': [models.UniqueConstraint(fields=('task', 'watcher_type', 'watcher'), name='watch_once')],
            },
        ),
        migrations.RunPython(begin, migrations.RunPython.noop),
    ]
