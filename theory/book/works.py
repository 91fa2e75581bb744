"""Works that sources name by authors and year or by an arXiv number, with what a bibliography adds to that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Work:
    """A cited work: as it is named in sources, its title and where it stands, and its arXiv number."""

    key: str
    authors: str
    title: str = ""
    where: str = ""
    arxiv: str = ""


KNOWN = (
    Work(
        key="Allen 1974",
        authors="D. M. Allen",
        title="The Relationship Between Variable Selection and Data Augmentation and a Method for Prediction",
        where="Technometrics 16, 1974",
    ),
    Work(
        key="Arora et al. 2019",
        authors="S. Arora, S. S. Du, W. Hu, Z. Li, R. Wang",
        title="Fine-Grained Analysis of Optimization and Generalization for Overparameterized Two-Layer Neural Networks",
        where="ICML 2019",
        arxiv="1901.08584",
    ),
    Work(
        key="Bartlett and Mendelson 2002",
        authors="P. L. Bartlett, S. Mendelson",
        title="Rademacher and Gaussian Complexities: Risk Bounds and Structural Results",
        where="Journal of Machine Learning Research 3, 2002",
    ),
    Work(key="Cho and Saul 2009", authors="Y. Cho, L. K. Saul", title="Kernel Methods for Deep Learning", where="NeurIPS 2009"),
    Work(
        key="Craven and Wahba 1979",
        authors="P. Craven, G. Wahba",
        title="Smoothing Noisy Data with Spline Functions",
        where="Numerische Mathematik 31, 1979",
    ),
    Work(
        key="Du et al. 2018",
        authors="S. S. Du, X. Zhai, B. Póczos, A. Singh",
        title="Gradient Descent Provably Optimizes Over-parameterized Neural Networks",
        where="ICLR 2019",
        arxiv="1810.02054",
    ),
    Work(
        key="Golub, Heath and Wahba 1979",
        authors="G. H. Golub, M. Heath, G. Wahba",
        title="Generalized Cross-Validation as a Method for Choosing a Good Ridge Parameter",
        where="Technometrics 21, 1979",
    ),
    Work(
        key="Kahan 2006",
        authors="W. Kahan",
        title="How Futile are Mindless Assessments of Roundoff in Floating-Point Computation?",
        where="2006",
    ),
    Work(
        key="Liu et al. 2019",
        authors="H. Liu, M. Long, J. Wang, M. I. Jordan",
        title="Towards Understanding the Transferability of Deep Representations",
        where="2019",
        arxiv="1909.12031",
    ),
    Work(
        key="Mohri, Rostamizadeh and Talwalkar 2018",
        authors="M. Mohri, A. Rostamizadeh, A. Talwalkar",
        title="Foundations of Machine Learning",
        where="second edition, MIT Press 2018",
    ),
    Work(
        key="Santurkar et al. 2018",
        authors="S. Santurkar, D. Tsipras, A. Ilyas, A. Mądry",
        title="How Does Batch Normalization Help Optimization?",
        where="NeurIPS 2018",
        arxiv="1805.11604",
    ),
)
"""In alphabetical order of their keys."""
