"""Telephone sound: the band of a line, room noise, hold music and the recorder's beep, all made here.

Every function is deterministic: what is random comes from the generator it is given.
"""

import numpy as np
from scipy.signal import butter, resample_poly, sosfilt, sosfiltfilt


def telephone(samples: np.ndarray, source_rate: int, rate: int) -> np.ndarray:
    """The band of a telephone: 300–3400 Hz at 8 kHz, 80–7000 Hz (HD voice) above.

    Zero-phase, so that word times still hold.
    """
    common = int(np.gcd(source_rate, rate))
    samples = resample_poly(samples, rate // common, source_rate // common)
    low, high = (300, 3400) if rate == 8000 else (80, 7000)
    return sosfiltfilt(butter(2, [low, high], "bandpass", fs=rate, output="sos"), samples)


def level(samples: np.ndarray, decibels: float) -> np.ndarray:
    """Speech brought to a level in dBFS, measured where there is speech; peaks rounded off."""
    block = 160
    power = np.mean(samples[: len(samples) // block * block].reshape(-1, block) ** 2, axis=1)
    active = power[power > 0.01 * power.max()]
    gain = 10 ** (decibels / 20) / np.sqrt(active.mean())
    # Linear up to 0.5 of full scale, then bent so that 1.0 is never reached.
    scaled = samples * gain
    over = np.abs(scaled) - 0.5
    return np.where(over > 0, np.sign(scaled) * (0.5 + 0.45 * np.tanh(over / 0.45)), scaled)


def room(length: int, rate: int, decibels: float, random: np.random.Generator) -> np.ndarray:
    """Room noise: pink noise that swells a little, with mains hum far below it."""
    spectrum = np.fft.rfft(random.standard_normal(length))
    frequency = np.fft.rfftfreq(length, 1 / rate)
    spectrum /= np.sqrt(np.maximum(frequency, 40))
    noise = np.fft.irfft(spectrum, length)
    time = np.arange(length) / rate
    noise *= 1 + 0.25 * np.sin(2 * np.pi * time / random.uniform(7, 13) + random.uniform(0, 6))
    noise /= np.sqrt(np.mean(noise**2))
    hum = 0.15 * np.sin(2 * np.pi * 120 * time)
    return (noise + hum) * 10 ** (decibels / 20)


def typing(seconds: float, rate: int, random: np.random.Generator) -> np.ndarray:
    """Keys being struck, softly."""
    out = np.zeros(int(seconds * rate))
    band = butter(2, [900, 3200], "bandpass", fs=rate, output="sos")
    at = random.uniform(0.05, 0.2)
    while at < seconds - 0.1:
        length = int(0.035 * rate)
        click = random.standard_normal(length) * np.exp(-np.arange(length) / (0.006 * rate))
        start = int(at * rate)
        out[start : start + length] += sosfilt(band, click) * random.uniform(0.5, 1.0)
        at += random.choice([0.11, 0.14, 0.18, 0.24, 0.5]) * random.uniform(0.8, 1.2)
    return out * 0.035


def beep(rate: int) -> np.ndarray:
    """The recorder's mark at either end of a secure pause: 1400 Hz for 0.2 s."""
    time = np.arange(int(0.2 * rate)) / rate
    edge = np.minimum(1, np.minimum(time, time[::-1]) / 0.01)
    return 0.08 * np.sin(2 * np.pi * 1400 * time) * edge


def hold_music(seconds: float, rate: int) -> np.ndarray:
    """A slow arpeggio over four chords, on something like an electric piano."""
    beat = 60 / 92
    chords = [(57, 60, 64, 67, 72), (53, 57, 60, 64, 69), (48, 55, 60, 64, 67), (55, 59, 62, 67, 71)]
    figure = (0, 2, 3, 4, 3, 2, 1, 2)
    total = int(seconds * rate)
    out = np.zeros(total + 4 * rate)
    for step in range(int(seconds / (beat / 2))):
        chord = chords[step // 8 % len(chords)]
        notes = [(chord[figure[step % 8]], 0.30)]
        if step % 8 == 0:
            notes += [(chord[0] - 12, 0.45), (chord[2], 0.18), (chord[3], 0.18)]
        for note, loudness in notes:
            out_at = int(step * beat / 2 * rate)
            tone = _piano(440 * 2 ** ((note - 69) / 12), 2.2, rate)
            out[out_at : out_at + len(tone)] += tone * loudness
    out = out[:total]
    fade = np.minimum(1, np.arange(total) / (0.4 * rate))
    return 0.22 * out / np.abs(out).max() * fade * np.minimum(1, fade[::-1])


def _piano(frequency: float, seconds: float, rate: int) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    tone = sum(
        weight * np.sin(2 * np.pi * frequency * multiple * time) * np.exp(-time * decay)
        for multiple, weight, decay in [(1, 1.0, 1.8), (2, 0.35, 2.6), (3, 0.12, 4.0), (7, 0.05, 9.0)]
        if frequency * multiple < rate / 2.2
    )
    return tone * np.minimum(1, time / 0.006)
