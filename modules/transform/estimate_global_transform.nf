process ESTIMATE_GLOBAL_TRANSFORM {
    label 'process_medium'

    input:
    tuple path(grids, stageAs: 'given/*'), path(manifests, stageAs: 'given/*')
    val flags

    output:
    path 'published/estimate_global_transform/global_affine.npy', emit: transform
    path 'published/estimate_global_transform/global_affine.json', emit: description
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    estimate_global_transform.py ${flags} --grids ${grids} --output published/estimate_global_transform/global_affine.npy --described_in published/estimate_global_transform/global_affine.json
    """

    stub:
    """
    stub.sh published/estimate_global_transform/global_affine.npy published/estimate_global_transform/global_affine.json estimate_global_transform.provenance.json
    """
}
