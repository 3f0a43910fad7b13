"""The window's Qt style sheet, written for one palette.

Owns the selectors (object names and the `role` property that widgets set). Must not know what is shown. Pure.
"""

from __future__ import annotations

from ui_proc.palettes import Colors


def style_sheet(colors: Colors) -> str:
    """Return the style sheet of the whole application."""
    return "".join((_frames(colors), _texts(colors), _tabs(colors), _controls(colors), _tables(colors)))


def _frames(c: Colors) -> str:
    return f"""
    QMainWindow, QWidget#page {{ background: {c.window}; }}
    QFrame#header {{ background: {c.surface}; border: none; border-bottom: 1px solid {c.border}; }}
    QFrame[role="card"] {{ background: {c.surface}; border: 1px solid {c.border}; border-radius: 10px; }}
    QFrame[role="well"] {{ background: {c.raised}; border: 1px solid {c.border}; border-radius: 8px; }}
    QScrollArea, QScrollArea > QWidget > QWidget {{ background: transparent; border: none; }}
    QSplitter::handle {{ background: transparent; }}
    QToolTip {{ background: {c.raised}; color: {c.text}; border: 1px solid {c.border}; padding: 4px 6px; }}
    """


def _texts(c: Colors) -> str:
    return f"""
    QLabel {{ background: transparent; color: {c.text}; }}
    QLabel[role="brand"] {{ font-size: 16px; font-weight: 700; }}
    QLabel[role="caption"] {{ color: {c.muted}; font-size: 12px; }}
    QLabel[role="figure"] {{ font-size: 34px; font-weight: 700; }}
    QLabel[role="heading"] {{ font-size: 18px; font-weight: 600; }}
    QLabel[role="muted"] {{ color: {c.muted}; }}
    QLabel[role="error"] {{ color: {c.bad}; font-weight: 600; }}
    """


def _tabs(c: Colors) -> str:
    return f"""
    QTabBar {{ background: transparent; border: none; qproperty-drawBase: 0; }}
    QTabBar::tab {{
        color: {c.muted}; background: transparent; border: none; border-radius: 7px;
        padding: 7px 13px; margin: 0 2px; font-weight: 600;
    }}
    QTabBar::tab:hover {{ color: {c.text}; background: {c.raised}; }}
    QTabBar::tab:selected {{ color: {c.accent}; background: {c.accent_soft}; }}
    """


def _controls(c: Colors) -> str:
    return f"""
    QLineEdit {{
        background: {c.surface}; color: {c.text}; border: 1px solid {c.border}; border-radius: 8px;
        padding: 6px 10px; min-height: 20px; selection-background-color: {c.accent};
        selection-color: {c.on_accent}; placeholder-text-color: {c.muted};
    }}
    QLineEdit:focus {{ border: 1px solid {c.accent}; }}
    QPlainTextEdit {{ background: transparent; color: {c.text}; border: none; }}
    QPushButton, QToolButton {{
        background: {c.surface}; color: {c.text}; border: 1px solid {c.border}; border-radius: 8px;
        padding: 6px 14px; min-height: 20px; font-weight: 600;
    }}
    QPushButton:hover, QToolButton:hover {{ background: {c.raised}; border-color: {c.accent}; }}
    QPushButton:focus, QToolButton:focus {{ border-color: {c.accent}; }}
    QPushButton:checked {{ background: {c.accent_soft}; color: {c.accent}; border-color: {c.accent}; }}
    QPushButton[role="primary"] {{ background: {c.accent}; color: {c.on_accent}; border-color: {c.accent}; }}
    QPushButton:disabled {{ background: {c.raised}; color: {c.muted}; border-color: {c.border}; }}
    QToolButton {{ padding: 6px 11px; }}
    QToolButton::menu-indicator {{ image: none; }}
    QMenu {{
        background: {c.surface}; color: {c.text}; border: 1px solid {c.border}; padding: 5px;
    }}
    QMenu::item {{ padding: 6px 28px 6px 24px; border-radius: 5px; }}
    QMenu::item:selected {{ background: {c.accent_soft}; color: {c.accent}; }}
    QMenu::separator {{ height: 1px; background: {c.border}; margin: 5px 4px; }}
    """


def _tables(c: Colors) -> str:
    return f"""
    QTableView {{ background: transparent; border: none; outline: none; gridline-color: {c.border}; }}
    QHeaderView {{ background: transparent; border: none; }}
    QHeaderView::section {{
        background: transparent; color: {c.muted}; border: none; border-bottom: 1px solid {c.border};
        padding: 8px 12px; font-size: 12px; font-weight: 600;
    }}
    QScrollBar:vertical {{ background: transparent; width: 12px; margin: 2px; }}
    QScrollBar:horizontal {{ background: transparent; height: 12px; margin: 2px; }}
    QScrollBar::handle {{ background: {c.border}; border-radius: 4px; min-height: 32px; min-width: 32px; }}
    QScrollBar::handle:hover {{ background: {c.muted}; }}
    QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
    QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
    """
