"""Works that sources name by authors and year or by an arXiv number, with what a bibliography adds to that."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Work:
    """A cited work: as it is named in sources, its title and where it stands, and its arXiv number."""

    key: str
    authors: str
    title: str = ""
    where: str = ""
    arxiv: str = ""


def alphabetical(term: str) -> str:
    """What to sort a term by: accents and case left out."""
    return unicodedata.normalize("NFKD", term).encode("ascii", "ignore").decode().casefold()


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
        key="Arora, Du, Hu, Li, Salakhutdinov and Wang 2019",
        authors="S. Arora, S. S. Du, W. Hu, Z. Li, R. Salakhutdinov, R. Wang",
        title="On Exact Computation with an Infinitely Wide Neural Net",
        where="NeurIPS 2019",
        arxiv="1904.11955",
    ),
    Work(
        key="Bach 2017",
        authors="F. Bach",
        title="Breaking the Curse of Dimensionality with Convex Neural Networks",
        where="Journal of Machine Learning Research 18, 2017",
    ),
    Work(
        key="Bartlett and Mendelson 2002",
        authors="P. L. Bartlett, S. Mendelson",
        title="Rademacher and Gaussian Complexities: Risk Bounds and Structural Results",
        where="Journal of Machine Learning Research 3, 2002",
    ),
    Work(
        key="Bietti and Mairal 2019",
        authors="A. Bietti, J. Mairal",
        title="On the Inductive Bias of Neural Tangent Kernels",
        where="NeurIPS 2019",
        arxiv="1905.12173",
    ),
    Work(
        key="Böhning 1992",
        authors="D. Böhning",
        title="Multinomial Logistic Regression Algorithm",
        where="Annals of the Institute of Statistical Mathematics 44, 1992",
    ),
    Work(
        key="Bordelon, Canatar and Pehlevan 2020",
        authors="B. Bordelon, A. Canatar, C. Pehlevan",
        title="Spectrum Dependent Learning Curves in Kernel Regression and Wide Neural Networks",
        where="ICML 2020",
        arxiv="2002.02561",
    ),
    Work(
        key="Chernoff 1952",
        authors="H. Chernoff",
        title="A Measure of Asymptotic Efficiency for Tests of a Hypothesis Based on the Sum of Observations",
        where="Annals of Mathematical Statistics 23, 1952",
    ),
    Work(
        key="Cho and Saul 2009",
        authors="Y. Cho, L. K. Saul",
        title="Kernel Methods for Deep Learning",
        where="NeurIPS 2009",
    ),
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
        key="Funk 1916",
        authors="P. Funk",
        title="Beiträge zur Theorie der Kugelfunktionen",
        where="Mathematische Annalen 77, 1916",
    ),
    Work(
        key="Golub, Heath and Wahba 1979",
        authors="G. H. Golub, M. Heath, G. Wahba",
        title="Generalized Cross-Validation as a Method for Choosing a Good Ridge Parameter",
        where="Technometrics 21, 1979",
    ),
    Work(
        key="Hecke 1918",
        authors="E. Hecke",
        title="Über orthogonal-invariante Integralgleichungen",
        where="Mathematische Annalen 78, 1918",
    ),
    Work(
        key="Hoeffding 1963",
        authors="W. Hoeffding",
        title="Probability Inequalities for Sums of Bounded Random Variables",
        where="Journal of the American Statistical Association 58, 1963",
    ),
    Work(
        key="Hotelling 1936",
        authors="H. Hotelling",
        title="Relations Between Two Sets of Variates",
        where="Biometrika 28, 1936",
    ),
    Work(
        key="Isserlis 1918",
        authors="L. Isserlis",
        title="On a Formula for the Product-Moment Coefficient of any Order of a Normal Frequency Distribution in any Number of Variables",
        where="Biometrika 12, 1918",
    ),
    Work(
        key="Jacot et al. 2018",
        authors="A. Jacot, F. Gabriel, C. Hongler",
        title="Neural Tangent Kernel: Convergence and Generalization in Neural Networks",
        where="NeurIPS 2018",
        arxiv="1806.07572",
    ),
    Work(
        key="Jameson 2006",
        authors="G. J. O. Jameson",
        title="Counting Zeros of Generalised Polynomials: Descartes' Rule of Signs and Laguerre's Extensions",
        where="The Mathematical Gazette 90, 2006",
    ),
    Work(
        key="Kahan 2006",
        authors="W. Kahan",
        title="How Futile are Mindless Assessments of Roundoff in Floating-Point Computation?",
        where="2006",
    ),
    Work(
        key="Li, Grandvalet and Davoine 2018",
        authors="X. Li, Y. Grandvalet, F. Davoine",
        title="Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
        where="ICML 2018",
        arxiv="1802.01483",
    ),
    Work(
        key="Liu et al. 2019",
        authors="H. Liu, M. Long, J. Wang, M. I. Jordan",
        title="Towards Understanding the Transferability of Deep Representations",
        where="2019",
        arxiv="1909.12031",
    ),
    Work(
        key="McDiarmid 1989",
        authors="C. McDiarmid",
        title="On the Method of Bounded Differences",
        where="Surveys in Combinatorics, 1989",
    ),
    Work(
        key="Mohri, Rostamizadeh and Talwalkar 2018",
        authors="M. Mohri, A. Rostamizadeh, A. Talwalkar",
        title="Foundations of Machine Learning",
        where="second edition, MIT Press 2018",
    ),
    Work(
        key="Müller 1966",
        authors="C. Müller",
        title="Spherical Harmonics",
        where="Lecture Notes in Mathematics 17, Springer 1966",
    ),
    Work(
        key="Polyak 1964",
        authors="B. T. Polyak",
        title="Some Methods of Speeding up the Convergence of Iteration Methods",
        where="USSR Computational Mathematics and Mathematical Physics 4, 1964",
    ),
    Work(
        key="Price 1958",
        authors="R. Price",
        title="A Useful Theorem for Nonlinear Devices Having Gaussian Inputs",
        where="IRE Transactions on Information Theory 4, 1958",
    ),
    Work(
        key="Rump 2010",
        authors="S. M. Rump",
        title="Verification Methods: Rigorous Results Using Floating-Point Arithmetic",
        where="Acta Numerica 19, 2010",
    ),
    Work(
        key="Santurkar et al. 2018",
        authors="S. Santurkar, D. Tsipras, A. Ilyas, A. Mądry",
        title="How Does Batch Normalization Help Optimization?",
        where="NeurIPS 2018",
        arxiv="1805.11604",
    ),
    Work(
        key="Shapley 1953",
        authors="L. S. Shapley",
        title="A Value for n-Person Games",
        where="Contributions to the Theory of Games II, 1953",
    ),
    Work(
        key="Tropp 2012",
        authors="J. A. Tropp",
        title="User-Friendly Tail Bounds for Sums of Random Matrices",
        where="Foundations of Computational Mathematics 12, 2012",
        arxiv="1004.4389",
    ),
    Work(
        key="Williams 1997",
        authors="C. K. I. Williams",
        title="Computing with Infinite Networks",
        where="NeurIPS 1996",
    ),
    Work(
        key="Zavriev and Kostyuk 1993",
        authors="S. K. Zavriev, F. V. Kostyuk",
        title="Heavy-Ball Method in Nonconvex Optimization Problems",
        where="Computational Mathematics and Modeling 4, 1993",
    ),
)
"""In alphabetical order of their keys."""
