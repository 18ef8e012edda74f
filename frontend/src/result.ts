// result.json, as far as the page shows it. Fields of later versions are ignored, missing ones left out.

export interface Finding {
  code: string;
  message: string;
}

export interface Region {
  millilitres: number;
  mean_hu: number;
  ground_glass: number;
  consolidation: number;
}

export interface Quantification {
  windows_hu?: { ground_glass?: [number, number]; consolidation?: [number, number] };
  regions: Record<string, Region | undefined>;
}

export interface MapEvidence {
  inside_lungs: number;
  inside_lungs_over_chance: number;
  right: number | null;
  left: number | null;
  upper: number;
  middle: number;
  lower: number;
  normal_up_to_hu: number;
  dense_lung: number;
  dense_over_chance: number;
  stability: { flip: number; noise: number } | null;
  failures: string[];
}

export interface Curve {
  day: number[];
  probability: number[];
  low: number[];
  high: number[];
  level: number;
  with_competing?: number[] | null;
}

export interface Prognosis {
  group: "low" | "high";
  risk: number;
  cut: number;
  model: { name: string; sha256: string; demonstration: boolean };
  expected_stay: {
    median_days: number | null;
    median_days_interval: [number | null, number | null];
    mean_days: number;
    horizon: number;
  };
  curve: Curve;
  meaning: string;
}

export interface Card {
  name?: string;
  sha256?: string;
  licence?: string;
  origin?: string;
  training_data?: string;
  demonstration?: boolean;
}

export interface Result {
  schema: string;
  intended_use?: string;
  probability: number;
  decision: { call: string; threshold: number };
  findings: Finding[];
  lung_millilitres?: Record<string, number>;
  quantification?: Quantification | null;
  map_evidence?: MapEvidence | null;
  feature_distance?: { value: number; limit: number } | null;
  scan?: {
    format?: string;
    scan_sha256?: string;
    series_uid?: string;
    manufacturer?: string;
    model?: string;
    kvp?: number;
    kernel?: string;
    slice_thickness_mm?: number;
    patient_age_years?: number;
    patient_sex?: string;
  };
  geometry?: { shape_zyx: [number, number, number]; spacing_mm_zyx: [number, number, number] };
  clinical?: { age?: number | null; sex?: string | null; comorbidity?: boolean | null };
  prognosis?: Prognosis | null;
  prognosis_missing?: string[];
  provenance?: {
    version?: string;
    versions?: Record<string, string>;
    weights?: { set?: string; diagnosis?: Card; lungs?: Card };
    prognosis?: Card | null;
    engine?: Record<string, Record<string, string | number> | undefined>;
  };
}
