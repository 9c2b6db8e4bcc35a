"""The Obuchowski-Rockette test against published output, a slow second implementation, and its edges."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from divsal_bench.leaderboard.statistics import placements, reader_case

pytestmark = pytest.mark.fast

Floats = npt.NDArray[np.float64]

# Van Dyke et al. 1993 (Radiology 189(P):243): 5 readers rate 69 patients without and 45 with aortic
# dissection from 1 to 5 on spin-echo MRI (first five rows) and on cine MRI (last five). The standard MRMC
# example.
VAN_DYKE = (
    "122151111111411111111131311214111113121211233131133111111221111332111"
    "555545554555434245555555154454553555115554451",
    "232222222322522232222222422223222222222222222222222222222432232222222"
    "535555542555442225555555243354552425225555352",
    "222235112242422232221232411322112224121412112222223211211221151421212"
    "545555555555542355555555252255552555225555552",
    "111111311111111111112111211112111111111111111111331111111111111311111"
    "555555555555555155555555554544553555125555555",
    "351211112221211122113221111211211231221113332111211111111341231212113"
    "525255551545452235555554144322151515115553552",
    "333222223213122222211111421312214323123122233111333113412421241442111"
    "535555554555544335555555355355554455535555551",
    "322222223222222122221222322222212212222231223222222222322322222222122"
    "535555552555344245455545252355532425525555552",
    "242222322211132222121121411512112122212221132111233113221232341242121"
    "525555555555354145555555253355543555534555551",
    "221111312111122111211111321212111122112111112121212211111212111323211"
    "545555554555455555555555455445555555535555555",
    "223122221222111222122212322321212222112121132122332122221222231233111"
    "525455555455343335555555251332532545533555553",
)


def van_dyke() -> placements.ConditionScores:
    ratings = np.array([[float(rating) for rating in row] for row in VAN_DYKE])
    diseased = np.arange(114) >= 69
    return placements.clustered_influence(
        ratings, [placements.Condition("dissection", diseased, ~diseased)], np.arange(114)
    )


def random_runs(seed: int, n: int, k: int, spread: float = 1.0) -> tuple[Floats, Floats, Floats, Floats]:
    """Metrics and influences of two methods whose differences share what the subjects bring."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=k)
    influence_a = 0.01 * (shared + spread * rng.normal(size=(n, k)))
    influence_b = 0.01 * spread * rng.normal(size=(n, k))
    return 0.8 + 0.02 * rng.normal(size=n), 0.7 + 0.02 * rng.normal(size=n), influence_a, influence_b


def test_van_dyke_areas_as_published() -> None:
    # RJafroc 2.0, dataset02, figure of merit Wilcoxon.
    published = [0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066]
    published += [0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169]
    np.testing.assert_allclose(van_dyke().auroc[:, 0], published, atol=5e-9)


def test_van_dyke_comparison_as_published() -> None:
    # MRMCaov user guide: mrmc(empirical_auc(truth, rating), ..., cov = DeLong), treatment 1 - treatment 2.
    runs = van_dyke()
    found = reader_case.compare_paired(runs.primary[:5], runs.primary[5:], runs.influence[:5], runs.influence[5:])
    assert found.difference == pytest.approx(-0.04380032, abs=5e-9)
    assert found.variance**0.5 == pytest.approx(0.0206825, abs=5e-8)
    assert found.t == pytest.approx(-2.117747, abs=5e-7)
    # With two tests MS(T:R) is half the variance of the differences, and c = 2 (Cov2 - Cov3).
    assert found.sd**2 / 2 == pytest.approx(0.0005510306, abs=5e-11)
    assert found.c == pytest.approx(2 * (0.0003395265 - 0.0002358497), abs=2e-10)
    # The published df is Hillis 2007, where U = 1 and K is infinite: (A + c)^2 / (A^2 / 4) with A = s^2 / 5.
    of_seeds, c = found.sd**2 / 5, 2 * (0.0003395265 - 0.0002358497)
    assert 4 * (1 + c / of_seeds) ** 2 == pytest.approx(15.06611, rel=1e-5)
    # Ours has U = 4 / chi2_.10(4), and K from the subjects.
    of_seeds *= 4 / 1.0636232  # tabled 10 % point of chi-squared with 4 degrees of freedom
    mean = (runs.influence[:5] - runs.influence[5:]).mean(axis=0)
    subjects = (mean**2).sum() ** 2 / (mean**4).sum()
    assert found.subjects == pytest.approx(subjects)
    assert 2 < subjects < 114
    assert found.df == pytest.approx((of_seeds + c) ** 2 / (of_seeds**2 / 4 + c**2 / (subjects - 1)), rel=1e-5)
    assert found.p == pytest.approx(2 * stats.t.sf(2.117747, found.df), rel=1e-6)
    half = stats.t.ppf(0.975, found.df) * 0.0206825
    assert (found.low, found.high) == pytest.approx((-0.04380032 - half, -0.04380032 + half), abs=1e-7)


@pytest.mark.parametrize(
    ("rows", "estimate", "ms_reader", "cov2", "std_err"),
    [
        (slice(0, 5), 0.8970370, 0.003082629, 0.0004775239, 0.03307642),
        (slice(5, 10), 0.9408374, 0.001304602, 0.0002015292, 0.02150464),
    ],
)
def test_van_dyke_single_methods_as_published(
    rows: slice, estimate: float, ms_reader: float, cov2: float, std_err: float
) -> None:
    runs = van_dyke()
    found = reader_case.population_interval(runs.primary[rows], runs.influence[rows])
    assert found.estimate == pytest.approx(estimate, abs=5e-8)
    assert found.sd**2 == pytest.approx(ms_reader, abs=5e-10)
    assert found.c == pytest.approx(cov2, abs=5e-11)
    assert found.variance**0.5 == pytest.approx(std_err, abs=5e-9)
    # The published interval is symmetric; ours is the same one for the logit, by the delta method.
    half = stats.t.ppf(0.975, found.df) * std_err / (estimate * (1 - estimate))
    odds = estimate / (1 - estimate) * np.exp([-half, half])
    assert (found.low, found.high) == pytest.approx(tuple(odds / (1 + odds)), abs=2e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 7), k=st.integers(1, 12))
def test_compare_equals_the_explicit_covariance_matrix(seed: int, n: int, k: int) -> None:
    a, b, influence_a, influence_b = random_runs(seed, n, k)
    # Covariance of all 2n runs, entry by entry, then the mean of cov(A_j - B_j, A_l - B_l) over j != l.
    runs = [list(row) for row in influence_a] + [list(row) for row in influence_b]
    cov = [[sum(x * y for x, y in zip(r, s, strict=True)) for s in runs] for r in runs]
    pairs = [(j, m) for j in range(n) for m in range(n) if j != m]
    c = sum(cov[j][m] - cov[j][n + m] - cov[n + j][m] + cov[n + j][n + m] for j, m in pairs) / len(pairs)
    differences = [x - y for x, y in zip(a, b, strict=True)]
    mean = sum(differences) / n
    s2 = sum((d - mean) ** 2 for d in differences) / (n - 1)
    v = s2 / n + max(c, 0.0)
    u = (n - 1) / stats.chi2.isf(0.90, n - 1)
    total = [
        sum(x - y for x, y in zip(one, two, strict=True)) / n
        for one, two in zip(influence_a.T, influence_b.T, strict=True)
    ]
    subjects = max(2.0, sum(x**2 for x in total) ** 2 / sum(x**4 for x in total))
    df = (u * s2 / n + max(c, 0.0)) ** 2 / ((u * s2 / n) ** 2 / (n - 1) + max(c, 0.0) ** 2 / (subjects - 1))

    found = reader_case.compare_paired(a, b, influence_a, influence_b)
    assert found.n == n
    assert found.status == "ok"
    assert found.c == pytest.approx(c, rel=1e-9, abs=1e-15)
    assert found.c_plus == pytest.approx(max(c, 0.0), rel=1e-9, abs=1e-15)
    assert found.sd == pytest.approx(s2**0.5)
    assert found.variance == pytest.approx(v)
    assert found.subjects == pytest.approx(subjects)
    assert found.df == pytest.approx(df)
    assert found.t == pytest.approx(mean / v**0.5)
    assert found.p == pytest.approx(2 * stats.t.cdf(-abs(mean) / v**0.5, df))
    assert found.high - found.low == pytest.approx(2 * stats.t.isf(0.025, df) * v**0.5)
    assert (found.high + found.low) / 2 == pytest.approx(mean)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 7))
def test_swapping_the_methods_changes_the_sign_only(seed: int, n: int) -> None:
    a, b, influence_a, influence_b = random_runs(seed, n, 9)
    one = reader_case.compare_paired(a, b, influence_a, influence_b)
    two = reader_case.compare_paired(b, a, influence_b, influence_a)
    assert (two.difference, two.t) == pytest.approx((-one.difference, -one.t))
    assert (two.p, two.df, two.variance) == pytest.approx((one.p, one.df, one.variance))
    assert (two.low, two.high) == pytest.approx((-one.high, -one.low))


def test_p_and_interval_agree() -> None:
    decided = set()
    for seed in range(60):
        a, b, influence_a, influence_b = random_runs(seed, 5, 20)
        found = reader_case.compare_paired(b + (a - b) * (seed % 4) / 4, b, influence_a, influence_b)
        assert (found.p < 0.05) == (not found.low <= 0.0 <= found.high)
        decided.add(found.p < 0.05)
    assert decided == {True, False}


def test_single_has_the_variance_of_a_comparison_with_a_method_that_never_varies() -> None:
    a, _, influence, _ = random_runs(3, 5, 11)
    one = reader_case.population_interval(a, influence)
    two = reader_case.compare_paired(a, np.zeros(5), influence, np.zeros_like(influence))
    assert (one.estimate, one.c, one.variance, one.df) == pytest.approx((two.difference, two.c, two.variance, two.df))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=6), st.floats(0.0, 0.3))
def test_the_interval_of_one_method_is_within_0_and_1_and_longer_towards_chance(
    values: list[float], size: float
) -> None:
    found = reader_case.population_interval(np.array(values), np.full((len(values), 3), size))
    if found.status == "ok":
        assert 0.0 <= found.low < found.estimate < found.high <= 1.0
        longer = (found.estimate - found.low) - (found.high - found.estimate)
        assert longer * (found.estimate - 0.5) >= -1e-12


def test_a_narrow_interval_of_one_method_is_the_symmetric_one() -> None:
    a = np.array([0.800, 0.801, 0.799, 0.800, 0.802])
    found = reader_case.population_interval(a, np.zeros((5, 3)))
    plain = stats.t.interval(0.95, 4, a.mean(), a.std(ddof=1) / 5**0.5)
    assert (found.low, found.high) == pytest.approx(plain, abs=5e-6)


def test_negative_covariance_counts_as_zero_and_is_reported() -> None:
    influence = np.array([[0.1, -0.1], [-0.1, 0.1], [0.1, -0.1]])
    a = np.array([0.8, 0.83, 0.81])
    found = reader_case.compare_paired(a, np.full(3, 0.7), influence, np.zeros_like(influence))
    assert found.c == pytest.approx(-0.02 / 3)
    assert found.c_plus == 0.0
    assert found.df == pytest.approx(2)
    assert found.p == pytest.approx(stats.ttest_1samp(a - 0.7, 0.0).pvalue)


def test_no_variance_over_seeds_leaves_that_over_subjects() -> None:
    influence = np.full((5, 4), 0.01)
    # 0.8 - 0.7 and 0.9 - 0.8 differ in the last bit; that is not a variance.
    a, b = np.array([0.8, 0.9, 0.8, 0.9, 0.8]), np.array([0.7, 0.8, 0.7, 0.8, 0.7])
    found = reader_case.compare_paired(a, b, influence, np.zeros_like(influence))
    assert found.sd == 0.0
    assert found.subjects == pytest.approx(4)
    assert found.df == pytest.approx(3)
    assert found.variance == pytest.approx(0.0004)
    assert found.p == pytest.approx(2 * stats.t.sf(5, 3))
    assert found.high == pytest.approx(0.1 + 3.182446 * 0.02, abs=1e-7)


@pytest.mark.parametrize(
    ("influence", "expected"),
    [
        ([1.0] * 7, 7.0),
        ([1.0, -1.0, 1.0, -1.0], 4.0),
        ([1.0] * 99 + [1000.0], 2.0),  # one subject decides; never below 2
        ([1.0, 1.0, 2.0], 6**2 / 18),
        ([1e-120] * 5, 5.0),  # whose fourth powers are 0 in binary
        ([0.0] * 5, np.nan),
        ([1.0, np.nan], np.nan),
    ],
)
def test_effective_number_of_subjects(influence: list[float], expected: float) -> None:
    found = reader_case.effective_subjects(np.array([influence, influence]))
    assert found == pytest.approx(expected, nan_ok=True)


def test_few_subjects_cost_degrees_of_freedom() -> None:
    many = reader_case.satterthwaite([(0.001 / 5, 5)], 0.001, 1e9)
    few = reader_case.satterthwaite([(0.001 / 5, 5)], 0.001, 5.0)
    u = 4 / 1.0636232
    assert many == pytest.approx(4 * (1 + 5 / u) ** 2, rel=1e-6)  # Hillis, with U
    assert few == pytest.approx((u / 5 + 1) ** 2 / ((u / 5) ** 2 / 4 + 1 / 4), rel=1e-6)
    assert reader_case.satterthwaite([(0.001 / 5, 5)], 0.0, np.nan) == pytest.approx(4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 7), m=st.integers(2, 7), k=st.integers(2, 12))
def test_compare_unpaired_equals_the_explicit_covariance_matrix(seed: int, n: int, m: int, k: int) -> None:
    a, _, influence_a, _ = random_runs(seed, n, k)
    _, b, influence_b, _ = random_runs(seed + 1, m, k)
    runs = [list(row) for row in influence_a] + [list(row) for row in influence_b]
    cov = [[sum(x * y for x, y in zip(r, s, strict=True)) for s in runs] for r in runs]
    first, second = range(n), range(n, n + m)

    def mean_of(pairs: list[tuple[int, int]]) -> float:
        return sum(cov[i][j] for i, j in pairs) / len(pairs)

    c = mean_of([(i, j) for i in first for j in first if i != j])
    c += mean_of([(i, j) for i in second for j in second if i != j])
    c -= 2 * mean_of([(i, j) for i in first for j in second])
    s2_a, s2_b = a.var(ddof=1), b.var(ddof=1)
    v = s2_a / n + s2_b / m + max(c, 0.0)
    total = influence_a.mean(axis=0) - influence_b.mean(axis=0)
    subjects = max(2.0, (total**2).sum() ** 2 / (total**4).sum())
    parts = [(s2_a / n * (n - 1) / stats.chi2.isf(0.9, n - 1), n - 1)]
    parts += [(s2_b / m * (m - 1) / stats.chi2.isf(0.9, m - 1), m - 1), (max(c, 0.0), subjects - 1)]
    df = sum(part for part, _ in parts) ** 2 / sum(part**2 / one for part, one in parts)

    found = reader_case.compare_unpaired(a, b, influence_a, influence_b)
    assert (found.status, found.n) == ("ok", min(n, m))
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.sd == pytest.approx((s2_a + s2_b) ** 0.5)
    assert found.c == pytest.approx(c, rel=1e-9, abs=1e-15)
    assert (found.variance, found.subjects, found.df) == pytest.approx((v, subjects, df))
    assert found.p == pytest.approx(2 * stats.t.cdf(-abs(found.difference) / v**0.5, df))
    assert found.high - found.low == pytest.approx(2 * stats.t.isf(0.025, df) * v**0.5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 8))
def test_unpaired_is_welchs_test_where_subjects_bring_nothing(seed: int, n: int) -> None:
    a, b, _, _ = random_runs(seed, n, 3)
    none = np.zeros((n, 3))
    found = reader_case.compare_unpaired(a, b, none, none)
    welch = stats.ttest_ind(a, b, equal_var=False)
    assert (found.t, found.df, found.p) == pytest.approx((welch.statistic, welch.df, welch.pvalue))


def test_unpaired_does_not_depend_on_the_order_of_the_seeds() -> None:
    a, b, influence_a, influence_b = random_runs(4, 5, 20)
    order = [3, 0, 4, 2, 1]
    one = reader_case.compare_unpaired(a, b, influence_a, influence_b)
    two = reader_case.compare_unpaired(a, b[order], influence_a, influence_b[order])
    assert two.p == pytest.approx(one.p, rel=1e-12)
    # Paired arbitrarily, the same runs give another p for each order.
    assert reader_case.compare_paired(a, b, influence_a, influence_b).p != pytest.approx(
        reader_case.compare_paired(a, b[order], influence_a, influence_b[order]).p, rel=0.01
    )


def test_unpaired_with_too_little_to_go_on_is_undefined() -> None:
    a, b, influence_a, influence_b = random_runs(0, 5, 4)
    one = reader_case.compare_unpaired(a[:1], b, influence_a[:1], influence_b)
    assert (one.status, one.n) == ("undefined", 1)
    assert one.difference == pytest.approx(a[0] - b.mean())
    assert np.isnan([one.p, one.variance, one.low, one.df]).all()
    none = reader_case.compare_unpaired(a[:0], b, influence_a[:0], influence_b)
    assert (none.status, none.n) == ("undefined", 0)
    influence_b[:, 1] = np.nan
    assert reader_case.compare_unpaired(a, b, influence_a, influence_b).status == "undefined"
    flat = np.zeros((3, 4))
    assert reader_case.compare_unpaired(np.full(3, 0.8), np.full(3, 0.8), flat, flat).status == "equal"
    assert reader_case.compare_unpaired(np.full(3, 0.8), np.full(3, 0.7), flat, flat).status == "undefined"
    with pytest.raises(ValueError, match="same subjects"):
        reader_case.compare_unpaired(a, b, influence_a[:, :3], influence_b)


def test_no_variance_at_all() -> None:
    influence = np.random.default_rng(0).normal(size=(5, 6))
    a = np.array([0.8, 0.82, 0.79, 0.9, 0.8])
    same = reader_case.compare_paired(a, a, influence, influence)
    assert (same.status, same.p, same.t) == ("equal", 1.0, 0.0)
    assert np.isnan([same.low, same.high]).all()  # not [0, 0]: both may be perfect on these images alone
    other = reader_case.compare_paired(a, a - 0.1, influence, influence)
    assert other.status == "undefined"
    assert other.difference == pytest.approx(0.1)
    assert np.isnan([other.p, other.t, other.df, other.low, other.high]).all()
    perfect = reader_case.population_interval(np.ones(5), np.zeros((5, 6)))
    assert (perfect.status, perfect.estimate) == ("undefined", 1.0)
    assert np.isnan([perfect.low, perfect.high]).all()


def test_too_little_to_go_on_is_undefined() -> None:
    one = reader_case.compare_paired(np.array([0.8]), np.array([0.7]), np.ones((1, 3)), np.zeros((1, 3)))
    assert (one.status, one.n) == ("undefined", 1)
    assert one.difference == pytest.approx(0.1)
    assert np.isnan([one.p, one.low, one.high, one.variance]).all()
    assert reader_case.population_interval(np.array([0.8]), np.ones((1, 3))).status == "undefined"

    a, b, influence_a, influence_b = random_runs(0, 5, 4)
    influence_a[:, 2] = np.nan
    unknown = reader_case.compare_paired(a, b, influence_a, influence_b)
    assert unknown.status == "undefined"
    assert unknown.sd == pytest.approx(np.std(a - b, ddof=1))
    assert np.isnan([unknown.p, unknown.c, unknown.variance, unknown.low]).all()
    a[1] = np.nan
    # Subjects that move both seeds alike give a c above 0, which must not pass for a known variance.
    unscored = reader_case.compare_paired(a, b, np.ones((5, 4)), np.zeros((5, 4)))
    assert unscored.status == "undefined"
    assert np.isnan([unscored.p, unscored.df, unscored.low]).all()


def test_mismatched_seeds_or_subjects_are_refused() -> None:
    a, b, influence_a, influence_b = random_runs(0, 5, 4)
    with pytest.raises(ValueError, match="same seeds"):
        reader_case.compare_paired(a[:1], b, influence_a, influence_b)
    with pytest.raises(ValueError, match="same subjects"):
        reader_case.compare_paired(a, b, influence_a[:, :1], influence_b)
    with pytest.raises(ValueError, match="influence"):
        reader_case.population_interval(a, influence_a[:3])
    with pytest.raises(ValueError, match="same seeds"):
        reader_case.compare_on_fixed_images(a, b[:1])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 9))
def test_on_these_images_equals_scipy_and_full_enumeration(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    # A coarse grid makes sign patterns tie, in exact arithmetic, with the observed one.
    a, b = rng.integers(60, 70, size=n) / 100, rng.integers(58, 66, size=n) / 100
    found = reader_case.compare_on_fixed_images(a, b)
    d = [round(100 * (x - y)) for x, y in zip(a, b, strict=True)]
    patterns = [sum(s * x for s, x in zip(signs, d, strict=True)) for signs in product((-1, 1), repeat=n)]
    assert found.p_sign_flip == sum(abs(total) >= abs(sum(d)) for total in patterns) / 2**n
    if len(set(d)) > 1:
        expected = stats.ttest_rel(a, b)
        assert (found.t, found.p_t) == pytest.approx((expected.statistic, expected.pvalue))
        assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    else:
        assert found.status == ("equal" if d[0] == 0 else "undefined")


@pytest.mark.parametrize(("n", "smallest"), [(3, 0.25), (5, 0.0625), (10, 0.001953125)])
def test_smallest_possible_sign_flip_p(n: int, smallest: float) -> None:
    a = 0.8 + np.arange(n) / 100
    assert reader_case.compare_on_fixed_images(a, np.full(n, 0.5)).p_sign_flip == smallest


def test_sign_flip_stops_where_enumeration_would_explode() -> None:
    d = np.linspace(0.1, 0.2, reader_case.MAX_SIGN_FLIP + 1)
    assert np.isnan(reader_case.compare_on_fixed_images(d, 0 * d).p_sign_flip)
    assert reader_case.compare_on_fixed_images(d[1:], 0 * d[1:]).p_sign_flip == 2.0 ** (1 - reader_case.MAX_SIGN_FLIP)
