"""The offer to open NIfTI files with ShaSpec from now on."""

from __future__ import annotations

from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton

from napari_shaspec.plugin import settings


class ReaderOffer(QFrame):
    """Shown until it is answered: without it napari asks which reader to use at every drop.

    Parameters
    ----------
    open_question
        Whether it has not been answered yet.
    """

    def __init__(self, *, open_question: bool) -> None:
        super().__init__()
        self.setObjectName("offer_reader")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        text = QLabel("Open NIfTI files with ShaSpec from now on?")
        text.setWordWrap(True)
        yes, no = QPushButton("Yes"), QPushButton("No")
        yes.setObjectName("offer_yes")
        no.setObjectName("offer_no")
        yes.setToolTip("napari's Preferences > Plugins can change it again")
        no.setToolTip("napari asks at every drop, unless this panel is open")
        layout.addWidget(text, 1)
        layout.addWidget(yes)
        layout.addWidget(no)
        yes.clicked.connect(lambda: self._answer(accepted=True))
        no.clicked.connect(lambda: self._answer(accepted=False))
        if not open_question or settings.reads_nifti():
            self.hide()

    def _answer(self, *, accepted: bool) -> None:
        if accepted:
            settings.become_reader()
        settings.remember(offer_reader=False)
        self.hide()
