/* The masked step and the outputs of a ReLU net, over a batch of nets.
 *
 * REAL is float or double. Arrays are C-contiguous: Z (batch, m, n), a (batch, m, c), direction (batch, n, c).
 * One thread an item, counted along the fastest axis; no thread waits for another, so the bodies are plain C.
 */
#ifndef KERNEL
#define KERNEL extern "C" __global__
#endif

/* out[b, r, i] = 1{Z[b, r, i] > 0} Σ_p a[b, r, p] direction[b, i, p] */
KERNEL void masked(const REAL *Z, const REAL *a, const REAL *direction, REAL *out,
                   long long batch, long long m, long long n, long long c)
{
    const long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= batch * m * n)
        return;
    REAL total = 0;
    if (Z[item] > 0) {
        const long long row = item / n;
        const REAL *readout = a + row * c;
        const REAL *towards = direction + (row / m * n + item % n) * c;
        for (long long p = 0; p < c; p++)
            total += readout[p] * towards[p];
    }
    out[item] = total;
}

/* partial[b, k, i, p] = Σ a[b, r, p] max(Z[b, r, i], 0), NaN where Z is, over the chunk k of `rows` neurons r.
 * Four readouts share one pass over the chunk; loops over them have a fixed length, so that their sums stay in registers. */
KERNEL void relu_outputs_partial(const REAL *Z, const REAL *a, double *partial,
                                 long long batch, long long m, long long n, long long c, long long rows)
{
    const long long chunks = (m + rows - 1) / rows;
    const long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= batch * chunks * n)
        return;
    const long long i = item % n;
    const long long k = item / n % chunks;
    const long long b = item / n / chunks;
    const long long first = k * rows;
    const long long last = first + rows < m ? first + rows : m;
    for (long long p = 0; p < c; p += 4) {
        const long long width = c - p < 4 ? c - p : 4;
        double total[4] = {0, 0, 0, 0};
        for (long long r = first; r < last; r++) {
            const double z = Z[(b * m + r) * n + i];
            if (!(z <= 0)) /* an overflow that has become NaN must be seen */
                for (int q = 0; q < 4; q++)
                    if (q < width)
                        total[q] += a[(b * m + r) * c + p + q] * z;
        }
        for (int q = 0; q < 4; q++)
            if (q < width)
                partial[item * c + p + q] = total[q];
    }
}

/* out[b, g, i] = Σ_k partial[b, k, i] over the group g of `size` chunks k, in the order of k: the same digits in every run. */
KERNEL void sum_groups(const double *partial, double *out, long long batch, long long chunks, long long items, long long size)
{
    const long long groups = (chunks + size - 1) / size;
    const long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= batch * groups * items)
        return;
    const long long b = item / items / groups;
    const long long first = item / items % groups * size;
    const long long last = first + size < chunks ? first + size : chunks;
    double total = 0;
    for (long long k = first; k < last; k++)
        total += partial[(b * chunks + k) * items + item % items];
    out[item] = total;
}
