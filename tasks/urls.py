"""Where tasks are found: the addresses of the pages and of the API, as two plain lists."""

from __future__ import annotations

from django.urls import URLPattern, path

from tasks import views

page_urls: list[URLPattern] = [
    path("", views.board),
    path("ventures/<slug:slug>/board", views.board),
    path("board/cards", views.board_cards),
    path("board/column/<slug:key>", views.column_cards),
    path("rail", views.rail),
    path("tasks/new", views.new_task),
    path("tasks/suggest", views.suggest),
    path("tasks/<slug:code>", views.task_page),
    path("tasks/<slug:code>/drawer", views.task_drawer),
    path("tasks/<slug:code>/move", views.move),
    path("tasks/<slug:code>/edit", views.edit),
    path("tasks/<slug:code>/dependencies/add", views.add_dependency),
    path("tasks/<slug:code>/dependencies/remove", views.remove_dependency),
    path("tasks/<slug:code>/deliverables/<int:number>/file", views.deliverable_file),
    path("tasks/<slug:code>/deliverables/<int:number>/open", views.deliverable_file, {"shown": True}),
    path("tasks/<slug:code>/<slug:name>", views.verb),
]
api_urls: list[URLPattern] = []
