"""Finding tasks by their words: an index beside the table, kept by triggers, asked through one function. Not: filters.

The index stands in a table of its own because every claim updates a task: a text index on the tasks themselves would
be written with each of them. PostgreSQL: a table of tsvectors with a GIN index; SQLite: FTS5 over the task's columns.
Both fold case and match the beginnings of words, all of them.
"""

from __future__ import annotations

import re
from typing import Any

from django.db import connection
from django.db.models.expressions import RawSQL

MOST_WORDS = 10
TRIGGERS = {"tasks_words_added", "tasks_words_changed", "tasks_words_removed"}
_WORD = re.compile(r"[^\W_]+")
_CODE = re.compile(r"[a-z0-9]{3,8}")

POSTGRESQL = r"""
CREATE TABLE IF NOT EXISTS tasks_words (task_id bigint PRIMARY KEY, words tsvector NOT NULL);
CREATE INDEX IF NOT EXISTS tasks_words_index ON tasks_words USING gin (words);

CREATE OR REPLACE FUNCTION tasks_words_of(title text, description text) RETURNS tsvector LANGUAGE sql IMMUTABLE AS $$
  SELECT to_tsvector('simple', regexp_replace(title || ' ' || left(description, 50000), '[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+', ' ', 'g'))
$$;

CREATE OR REPLACE FUNCTION tasks_words_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO tasks_words (task_id, words) SELECT id, tasks_words_of(title, description) FROM fresh
    ON CONFLICT (task_id) DO UPDATE SET words = excluded.words;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tasks_words_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE tasks_words SET words = tasks_words_of(NEW.title, NEW.description) WHERE task_id = NEW.id;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tasks_words_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM tasks_words WHERE task_id = OLD.id;
  RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER tasks_words_added AFTER INSERT ON tasks_task
  REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION tasks_words_added();
CREATE OR REPLACE TRIGGER tasks_words_changed AFTER UPDATE OF title, description ON tasks_task
  FOR EACH ROW EXECUTE FUNCTION tasks_words_changed();
CREATE OR REPLACE TRIGGER tasks_words_removed AFTER DELETE ON tasks_task
  FOR EACH ROW EXECUTE FUNCTION tasks_words_removed();
"""
POSTGRESQL_FILL = """
INSERT INTO tasks_words (task_id, words) SELECT id, tasks_words_of(title, description) FROM tasks_task
  ON CONFLICT (task_id) DO NOTHING
"""

SQLITE = [
    """CREATE VIRTUAL TABLE IF NOT EXISTS tasks_words USING fts5(
        title, description, content='tasks_task', content_rowid='id',
        tokenize="unicode61 remove_diacritics 0 separators '_'", prefix='2 3')""",
    """CREATE TRIGGER IF NOT EXISTS tasks_words_added AFTER INSERT ON tasks_task BEGIN
        INSERT INTO tasks_words(rowid, title, description) VALUES (new.id, new.title, new.description);
       END""",
    """CREATE TRIGGER IF NOT EXISTS tasks_words_changed AFTER UPDATE OF title, description ON tasks_task BEGIN
        INSERT INTO tasks_words(tasks_words, rowid, title, description)
        VALUES ('delete', old.id, old.title, old.description);
        INSERT INTO tasks_words(rowid, title, description) VALUES (new.id, new.title, new.description);
       END""",
    """CREATE TRIGGER IF NOT EXISTS tasks_words_removed AFTER DELETE ON tasks_task BEGIN
        INSERT INTO tasks_words(tasks_words, rowid, title, description)
        VALUES ('delete', old.id, old.title, old.description);
       END""",
]


def keep_index(**_: Any) -> None:
    """Make what is missing. After every migration: SQLite rebuilds a table to alter it, and drops its triggers so."""
    if _triggers() == TRIGGERS or "tasks_task" not in connection.introspection.table_names():
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(POSTGRESQL)
            cursor.execute(POSTGRESQL_FILL)
        else:
            for statement in SQLITE:
                cursor.execute(statement)
            cursor.execute("INSERT INTO tasks_words(tasks_words) VALUES ('rebuild')")


def _triggers() -> set[str]:
    catalogue = (
        "SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relname = 'tasks_task'"
        " AND pg_table_is_visible(c.oid) AND NOT tgisinternal"
        if connection.vendor == "postgresql"
        else "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'tasks_task'"
    )
    with connection.cursor() as cursor:
        cursor.execute(catalogue)
        return {name for (name,) in cursor.fetchall() if name in TRIGGERS}


def matching(tasks: Any, text: str) -> Any:
    """Those tasks that hold all words of the text, each as the beginning of a word, or whose code begins with it."""
    words = _WORD.findall(text)[:MOST_WORDS]
    if not words:
        return tasks.none()
    found, values = _found(words), [_asked(words)]
    code = text.strip().lower()
    if _CODE.fullmatch(code):
        found += " UNION SELECT id FROM tasks_task WHERE code BETWEEN %s AND %s"
        values += [code, code.ljust(8, "z")]
    return tasks.filter(pk__in=RawSQL(found, values))


def _found(words: list[str]) -> str:
    if connection.vendor == "postgresql":
        return "SELECT task_id FROM tasks_words WHERE words @@ to_tsquery('simple', %s)"
    return "SELECT rowid FROM tasks_words WHERE tasks_words MATCH %s"


def _asked(words: list[str]) -> str:
    if connection.vendor == "postgresql":
        return " & ".join(f"{word}:*" for word in words)
    return " AND ".join(f'"{word}"*' for word in words)
