"""Where tasks are found: the addresses of the pages and of the API, as two plain lists."""

from __future__ import annotations

from django.urls import URLPattern, path, register_converter
from django.urls.converters import StringConverter

from mission_control import addresses  # noqa: F401 - knows what <number:…> is
from mission_control.endpoints import resource
from tasks import api, approval_api, audit_api, briefing_api, run_api, views
from tasks.dispatching import dispatch_api, dispatch_views, merge_api, merge_views
from tasks.exchange import data_views, files_api
from tasks.pages import inbox_views, menu_views, session_views, styleguide_views, venture_views
from tasks.protocols import otlp_api
from tasks.teamwork import collaboration_api as team
from tasks.teamwork import feedback_api, plan_api


class TaskCode(StringConverter):
    regex = "[a-z0-9]{8}"


register_converter(TaskCode, "code")

page_urls: list[URLPattern] = [
    path("", views.board),
    path("ventures", venture_views.ventures),
    path("ventures/<slug:slug>", venture_views.venture),
    path("ventures/<slug:slug>/settings", venture_views.settings),
    path("ventures/<slug:slug>/board", views.board),
    path("ventures/<slug:slug>/branches", merge_views.branches),
    path("ventures/<slug:slug>/limit", views.set_limit),
    path("board/bulk", views.bulk),
    path("board/cards", views.board_cards),
    path("board/column/<slug:key>", views.column_cards),
    path("views", menu_views.menu),
    path("views/save", menu_views.save),
    path("views/<number:number>/delete", menu_views.delete),
    path("board/costs", views.board_costs),
    path("board/costs/<slug:key>", views.column_costs),
    path("rail", views.rail),
    path("palette", views.palette),
    path("sessions", session_views.sessions),
    path("settings/data", data_views.data),
    path("settings/data/import", data_views.bring_in),
    path("styleguide", styleguide_views.styleguide),
    path("inbox", inbox_views.inbox),
    path("inbox/alike/<slug:name>/all", inbox_views.act_on_alike),
    path("inbox/<slug:code>/<slug:name>", inbox_views.act),
    path("tasks/new", views.new_task),
    path("tasks/new/line", views.new_task_line),
    path("tasks/suggest", views.suggest),
    path("tasks/<slug:code>", views.task_page),
    path("tasks/<slug:code>/drawer", views.task_drawer),
    path("tasks/<slug:code>/blockers", views.blockers),
    path("tasks/<slug:code>/move", views.move),
    path("tasks/<slug:code>/edit", views.edit),
    path("tasks/<slug:code>/dependencies/add", views.add_dependency),
    path("tasks/<slug:code>/dependencies/remove", views.remove_dependency),
    path("tasks/<slug:code>/names", views.names),
    path("tasks/<slug:code>/comments/add", views.comment),
    path("tasks/<slug:code>/context/share", views.share),
    path("tasks/<slug:code>/context/remove", views.remove_context),
    path("tasks/<slug:code>/participants/add", views.add_participant),
    path("tasks/<slug:code>/participants/remove", views.remove_participant),
    path("tasks/<slug:code>/notes/add", views.take_note),
    path("tasks/<slug:code>/plan/add", views.add_step),
    path("tasks/<slug:code>/plan/<number:number>", views.set_step),
    path("tasks/<slug:code>/deliverables/<number:number>/file", views.deliverable_file),
    path("tasks/<slug:code>/deliverables/<number:number>/open", views.deliverable_file, {"shown": True}),
    path("tasks/<slug:code>/approve", views.approve),
    path("tasks/<slug:code>/hand-to", dispatch_views.hand_to),
    path("tasks/<slug:code>/feedback", views.give_feedback),
    path("tasks/<slug:code>/<slug:name>", views.verb),
]
sessions = resource(api.list_sessions, api.begin_session)
session = resource(api.read_session, api.change_session, api.end_session)
log = resource(api.list_activities, api.log_activity)
merge = resource(merge_api.merge_branches)
api_urls: list[URLPattern] = [
    path("tasks", resource(api.list_tasks, api.create_tasks, api.change_task_by_id, api.delete_task_by_id)),
    path("tasks/export", resource(files_api.export)),
    path("tasks/claim", resource(api.claim)),
    path("tasks/complete", resource(api.complete_by_id)),
    path("tasks/ready-for-work", resource(api.ready_for_work_by_get, api.ready_for_work)),
    path("tasks/pending", resource(api.pending)),
    path("tasks/listen", resource(api.listen)),
    path("tasks/stuck", resource(api.stuck)),
    path("tasks/orphaned", resource(api.orphaned)),
    path("tasks/cleanup-stale", resource(api.clean_up_stale)),
    path("tasks/<code:code>", resource(api.read_task, api.change_task, api.delete_task)),
    path("tasks/<code:code>/claim", resource(api.claim_one)),
    path("tasks/<code:code>/heartbeat", resource(api.heartbeat)),
    path("tasks/<code:code>/progress", resource(api.progress)),
    path("tasks/<code:code>/release", resource(api.release)),
    path("tasks/<code:code>/fail", resource(api.fail)),
    path("tasks/<code:code>/block", resource(api.block)),
    path("tasks/<code:code>/unblock", resource(api.unblock)),
    path("tasks/<code:code>/pause", resource(api.pause)),
    path("tasks/<code:code>/resume", resource(api.resume)),
    path("tasks/<code:code>/complete", resource(api.complete)),
    path("tasks/<code:code>/cancel", resource(api.cancel)),
    path("tasks/<code:code>/reopen", resource(api.reopen)),
    path("tasks/<code:code>/retry", resource(api.retry)),
    path("tasks/<code:code>/accept", resource(api.accept)),
    path("tasks/<code:code>/return", resource(api.return_)),
    path("tasks/<code:code>/approve", resource(approval_api.read_approval, approval_api.approve)),
    path("tasks/<code:code>/move", resource(api.move)),
    path("tasks/<code:code>/execution", resource(api.execution)),
    path("tasks/<code:code>/watch", resource(team.read_watch, team.watch, team.unwatch)),
    path("ventures/<slug:slug>/merge", merge),
    path("projects/<slug:slug>/merge", merge),
    path("tasks/<code:code>/process", resource(dispatch_api.process)),
    path("tasks/<code:code>/candidates", resource(dispatch_api.list_candidates)),
    path("tasks/<code:code>/why", resource(api.why)),
    path("tasks/<code:code>/briefing", resource(briefing_api.read_briefing)),
    path("tasks/<code:code>/activities", resource(api.list_task_activities, api.log_task_activity)),
    path("tasks/<code:code>/deliverables", resource(api.list_deliverables, api.add_deliverable)),
    path("tasks/<code:code>/deliverables/<number:number>/file", resource(api.download)),
    path("tasks/<code:code>/deliverables/<number:number>/adopt", resource(api.adopt)),
    path("tasks/<code:code>/subagent", resource(api.list_subagents, api.add_subagent)),
    path("tasks/<code:code>/sessions", resource(api.list_task_sessions, api.add_session)),
    path("tasks/<code:code>/runs", resource(run_api.list_runs, run_api.begin_run)),
    path("tasks/<code:code>/runs/<number:number>", resource(run_api.read_run)),
    path(
        "tasks/<code:code>/dependencies",
        resource(api.list_dependencies, api.add_dependency, api.remove_dependency_named),
    ),
    path("tasks/<code:code>/dependencies/<code:before>", resource(api.remove_dependency)),
    path("tasks/<code:code>/plan", resource(plan_api.read_plan, plan_api.write_plan)),
    path("tasks/<code:code>/plan/<number:number>", resource(plan_api.change_step)),
    path("tasks/<code:code>/comments", resource(team.list_comments, team.add_comment)),
    path("tasks/<code:code>/participants", resource(team.list_participants, team.add_participant)),
    path("tasks/<code:code>/participants/<slug:slug>", resource(team.remove_participant)),
    path("tasks/<code:code>/join", resource(team.join)),
    path("tasks/<code:code>/leave", resource(team.leave)),
    path("tasks/<code:code>/sync", resource(team.sync)),
    path("tasks/<code:code>/discover", resource(team.discover)),
    path("tasks/<code:code>/context", resource(team.list_context, team.share_context)),
    path("tasks/<code:code>/context/<path:key>", resource(team.read_context, team.remove_context)),
    path("tasks/<code:code>/notes", resource(team.list_notes, team.add_note)),
    path("tasks/<code:code>/context.yaml", resource(files_api.context_yaml)),
    path("tasks/<code:code>/progress.jsonl", resource(files_api.progress_jsonl)),
    path("tasks/<code:code>/notes.md", resource(files_api.notes_md)),
    path("tasks/<code:code>/archive.tar.gz", resource(files_api.archive)),
    path("tasks/<code:code>/usage", resource(api.report_task_usage)),
    path("usage", resource(api.report_usage)),
    path("usage/unmatched", resource(otlp_api.list_unmatched)),
    path("sessions", sessions),
    path("sessions/<path:key>", session),
    path("openclaw/sessions", sessions),
    path("openclaw/sessions/<path:key>", session),
    path("agents/heartbeat", resource(api.agent_heartbeat)),
    path("activities", log),
    path("events", log),
    path("board/summary", resource(api.board_summary)),
    path("board/columns", resource(api.board_columns)),
    path("tasks/<code:code>/feedback", resource(feedback_api.read_feedback, feedback_api.give_feedback)),
    path("feedback/metrics", resource(feedback_api.feedback_figures)),
    path("audit", resource(audit_api.audit)),
    path("vocabulary", resource(api.words)),
]
