/* The ReLU Gram function from inner products, norms and unit rows: angle, weight and scale in one pass.
 *
 * REAL is float or double. Arrays are C-contiguous: inner, H (n, k); u (n, d), v (k, d) unit rows; x_norm, x_scale (n,); z_norm,
 * z_scale (k,), the scales powers of two. inner and the norms are those of rows over their scales, as theory.numeric.pairs has them.
 *
 * H = s t x·z (π − θ) / (2π). Above |cos θ| = DIRECT the inner product does not determine θ well: there it comes from the
 * difference of the unit vectors, θ = 2 atan2(‖u − v‖, ‖u + v‖), and for opposite rows π − θ the same way from u and −v.
 */
#ifndef KERNEL
#define KERNEL extern "C" __global__
#endif

KERNEL void relu_gram(const REAL *inner, const REAL *u, const REAL *v, const REAL *x_norm, const REAL *z_norm,
                      const REAL *x_scale, const REAL *z_scale, REAL *H,
                      long long n, long long k, long long d, int symmetric)
{
    const REAL pi = (REAL)3.14159265358979323846;
    const long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= n * k)
        return;
    const long long i = item / k;
    const long long j = item % k;
    if (symmetric && j < i)
        return;
    const REAL product = inner[item];
    const REAL cosine = product / (x_norm[i] * z_norm[j]);
    REAL weight;
    if (fabs(cosine) > (REAL)DIRECT) {
        const REAL sign = cosine > 0 ? (REAL)1 : (REAL)-1;
        REAL gap = 0;
        for (long long q = 0; q < d; q++) {
            const REAL apart = u[i * d + q] - sign * v[j * d + q];
            gap += apart * apart;
        }
        gap /= 2;
        const REAL turn = atan2(sqrt(gap), sqrt(2 - gap)) / pi;
        weight = cosine > 0 ? (REAL)0.5 - turn : turn;
    } else {
        weight = acos(-cosine) / (2 * pi);
    }
    /* Where the product of the scales leaves the range, one at a time: no bound is passed that the result does not pass. */
    const REAL scale = x_scale[i] * z_scale[j];
    const REAL value = scale > 0 && isfinite(scale) ? product * weight * scale : product * weight * x_scale[i] * z_scale[j];
    H[item] = value;
    if (symmetric)
        H[j * k + i] = value;
}
